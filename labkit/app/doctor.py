"""``labkit doctor``: what is installed, what is at hand, and what to do about what is not.

Every finding is a tick or a cross *and* a word. Torch is looked at in a process of its own, so that a broken
installation, even one that crashes on import, is reported like anything else.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from labkit import __version__

__all__ = ["Finding", "examine", "find_browser"]

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "msedge", "firefox", "safari"),
)
PLACES = (  # browsers that are installed off the search path on macOS and Windows
    "/Applications/Google Chrome.app",
    "/Applications/Firefox.app",
    "/Applications/Microsoft Edge.app",
    "/Applications/Safari.app",
    r"%ProgramFiles%\Google\Chrome\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Google\Chrome\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Microsoft\Edge\Application\msedge.exe",
    r"%ProgramFiles%\Mozilla Firefox\firefox.exe",
)

MEND = "Mend what stands above first."
AGAIN = (
    "Install labkit again: `pip install .` in its checkout, or `pip install --force-reinstall` of the wheel."
)

STEPS = {  # each sets a dictionary `out`; they share one process, so that torch starts once
    "torch": """
import torch
device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
torch.ones(3).sum().item()
import torchvision
out = {"torch": torch.__version__, "torchvision": torchvision.__version__, "device": device}
out["threads"] = torch.get_num_threads()
""",
    "world": """
import time
from labkit.data import MiniBroden
world = MiniBroden(12, split="test")
world.scene(0)
start = time.perf_counter()
items = [world[i] for i in range(12)]
rate = 12 / (time.perf_counter() - start)
out = {"rate": rate, "contrast": float(items[0]["image"].max() - items[0]["image"].min())}
""",
    "model": """
from labkit.models import load_model
model = load_model("minivgg")
with torch.inference_mode():
    said = model(torch.stack([item["image"] for item in items])).argmax(1).tolist()
out = {"right": sum(a == item["label"] for a, item in zip(said, items)), "of": len(items)}
""",
    "widget": """
from labkit.widgets import OcclusionExplorer
out = {"characters": len(str(OcclusionExplorer._esm))}
""",
}
PROBE = """
import json, sys, warnings
warnings.simplefilter("ignore")
scope = {}
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, scope)
        out = scope["out"]
    except Exception as problem:
        out = {"why": f"{type(problem).__name__}: {problem}"}
    print("\\n" + json.dumps({name: out}), flush=True)
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``needed`` tells a broken lab from a missing convenience."""

    topic: str
    ok: bool
    text: str
    cure: str = ""
    needed: bool = True

    @property
    def word(self) -> str:
        """``ok``, ``missing`` (the labs still work) or ``broken``."""
        return "ok" if self.ok else "broken" if self.needed else "missing"


def probe(steps: dict[str, str], seconds: float = 180) -> dict[str, dict[str, Any]]:
    """Run the steps in a process of their own; what each found, or ``{"why": ...}``."""
    found: dict[str, dict[str, Any]] = {}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        output, why = done.stdout, f"the process ended with code {done.returncode}"
        if done.returncode < 0:
            why = f"the process crashed with signal {-done.returncode}"
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        why = f"no answer within {seconds:g} s"
    for line in output.splitlines():
        if line.startswith("{"):
            found |= json.loads(line)
    return {name: found.get(name, {"why": why}) for name in steps}


@lru_cache(maxsize=1)
def survey() -> dict[str, dict[str, Any]]:
    """What the steps find on this machine, asked once."""
    return probe(STEPS)


def find_browser() -> str | None:
    """The first browser found on this machine, or None."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    return next((p for p in map(os.path.expandvars, PLACES) if os.path.exists(p)), None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    enough = sys.version_info >= (3, 11)
    system = f"{platform.system()} {platform.machine()}"
    text = f"Python {platform.python_version()} on {system}, labkit {__version__}"
    return Finding("Python", enough, text, "labkit needs Python 3.11 or newer.")


def _processor() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB of memory"
    return Finding("Processor", True, f"{usable} cores{memory}")


def _torch() -> Finding:
    said = survey()["torch"]
    cure = (
        "Install both again from one place: pip install --force-reinstall torch torchvision "
        "(Linux without a GPU: add --index-url https://download.pytorch.org/whl/cpu)."
    )
    if "why" in said:
        return Finding("Torch", False, f"does not work: {said['why']}", cure)
    device = f"GPU {said['device']}" if said["device"] else "no GPU, none needed"
    text = f"torch {said['torch']}, torchvision {said['torchvision']}, {said['threads']} threads, {device}"
    return Finding("Torch", True, text)


def _jupyter() -> Finding:
    names = ("jupyterlab", "ipykernel", "ipywidgets", "anywidget")
    versions = {name: _version(name) for name in names}
    absent = [name for name, version in versions.items() if version is None]
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    return Finding("Jupyter", not absent, text, f"pip install {' '.join(absent)}")


def _widgets() -> Finding:
    said = survey()["widget"]
    if "why" in said:
        cure = f"{MEND} {AGAIN}"
        return Finding("Widgets", False, f"do not load: {said['why']}", cure)
    return Finding("Widgets", True, f"load ({said['characters']} characters of JavaScript, no download)")


def _browser() -> Finding:
    path = find_browser()
    cure = "Install Firefox or Chrome, or open the address that `labkit lab --no-browser` prints elsewhere."
    return Finding("Browser", path is not None, path or "none found", cure, needed=False)


def _models() -> Finding:
    folder = Path(__file__).parents[1] / "models" / "weights"
    names = sorted(path.stem for path in folder.glob("*.safetensors"))
    if "minivgg" not in names:
        cure = AGAIN
        return Finding("Networks", False, f"the bundled minivgg is not in {folder}", cure)
    said = survey()["model"]
    if "why" in said:
        return Finding("Networks", False, f"minivgg does not run: {said['why']}", MEND)
    text = f"minivgg names {said['right']} of {said['of']} test scenes; bundled: {', '.join(names)}"
    return Finding("Networks", True, text)


def torch_cache() -> Path:
    """The folder in which torch keeps downloaded weights (``TORCH_HOME``), whether it exists or not."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _pretrained() -> Finding:
    folder = torch_cache()
    names = sorted(path.name.rsplit("-", 1)[0] for path in folder.glob("*.pth")) if folder.is_dir() else []
    text = ", ".join(names) if names else f"none in {folder}"
    return Finding("Pretrained", bool(names), text, "labkit fetch squeezenet1_1 (5 MB)", needed=False)


def _world() -> Finding:
    said = survey()["world"]
    if "why" in said:
        return Finding("Toy world", False, f"does not render: {said['why']}", MEND)
    ok = said["contrast"] > 0.1
    return Finding("Toy world", ok, f"renders {said['rate']:.0f} scenes a second", AGAIN)


def _photographs() -> Finding:
    folder = os.environ.get("LABKIT_PHOTOS")
    if not folder:
        bundled = util.find_spec("skimage") is not None
        return Finding(
            "Photographs", bundled, "those of scikit-image", "pip install scikit-image", needed=False
        )
    found = [p for p in Path(folder).expanduser().glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    cure = "LABKIT_PHOTOS must name a folder with .jpg or .png files."
    return Finding("Photographs", bool(found), f"{len(found)} in {folder}", cure, needed=False)


def _cache() -> Finding:
    import tempfile

    from platformdirs import user_cache_path

    folder = Path(os.environ.get("LABKIT_CACHE") or user_cache_path("labkit"))
    cure = "Set LABKIT_CACHE to a folder in which you may write."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        return Finding("Cache", False, f"{folder}: {problem.strerror}", cure, needed=False)
    free = shutil.disk_usage(folder).free / 2**30
    return Finding("Cache", True, f"{folder}, {free:.0f} GB free")


def _notebooks() -> Finding:
    from labkit.app.workspace import UserError, find_notebooks

    try:
        folder = find_notebooks()
    except UserError as problem:
        return Finding("Notebooks", False, "none", str(problem))
    return Finding("Notebooks", True, ", ".join(sorted(p.stem for p in folder.glob("*.ipynb"))))


EXAMINATIONS: tuple[Callable[[], Finding], ...] = (
    _python,
    _processor,
    _torch,
    _jupyter,
    _widgets,
    _browser,
    _models,
    _pretrained,
    _world,
    _photographs,
    _cache,
    _notebooks,
)


def examine() -> Iterator[Finding]:
    """The findings one after the other, as each is made; an examination that fails is itself a finding."""
    for examination in EXAMINATIONS:
        try:
            yield examination()
        except Exception as problem:  # a doctor that falls ill helps nobody
            topic = examination.__name__.strip("_").capitalize()
            yield Finding(topic, False, f"{type(problem).__name__}: {problem}", AGAIN)
