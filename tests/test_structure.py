"""House rules that no other test would notice: arrows, lengths, no torch on import, no paths of a machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "labkit"

METHODS = ("visualization", "attribution", "concepts", "adversarial", "style", "generative", "circuits")
# A floor -> the floors right below it; what those stand on it may use as well. No two know each other.
STANDS_ON: dict[str, tuple[str, ...]] = {
    "__init__": (),
    "core": ("__init__",),
    "data": ("core",),
    "models": ("data",),
    "optimize": ("models",),
    **dict.fromkeys(METHODS, ("optimize",)),
    "evaluation": METHODS,
    "experiments": ("evaluation",),
    "ledger": ("experiments",),
    "plots": ("ledger",),
    "widgets": ("plots",),
    "calls": ("core",),
    "sandbox": ("calls",),
    "exercises": ("calls", "evaluation"),
    "checking": ("exercises", "sandbox"),
    "grading": ("checking",),
    "app": ("grading", "widgets"),
    "lab": ("app",),
    "cli": ("app",),
}


def below(unit: str) -> set[str]:
    """All the floors that a floor may import from."""
    return {deeper for floor in STANDS_ON[unit] for deeper in (floor, *below(floor))}


def unit_of(parts: tuple[str, ...]) -> str:
    """The part of the house that a dotted name of labkit belongs to."""
    return parts[1] if len(parts) > 1 and parts[1] in STANDS_ON else "__init__"


def imports(source: str, package: str) -> Iterator[str]:
    """Every dotted labkit name that a file imports, lazily and by `import_module` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "labkit")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            if base.split(".")[0] == "labkit":
                yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and str(first.value).split(".")[0] == "labkit":
                yield str(first.value)


def wrong_arrows(source: str, dotted: str) -> list[str]:
    """The imports of a file that go up, or sideways between packages that must not know each other."""
    here = unit_of(tuple(dotted.split(".")))
    package = dotted if dotted.endswith("__init__") else dotted.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    found = []
    for name in imports(source, package):
        there = unit_of(tuple(name.split(".")))
        if here != there and there not in below(here):
            found.append(f"{dotted} imports {name}")
    return found


def library() -> list[Path]:
    return sorted(p for p in LIBRARY.rglob("*.py") if "__pycache__" not in p.parts)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def committed() -> list[Path]:
    """What git tracks; without git, everything that is not built."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", ".git", "build", "dist", "__pycache__", "labs"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)]


def test_every_part_of_the_library_has_a_place_in_the_order() -> None:
    parts = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in library()}
    assert parts <= set(STANDS_ON), f"give these a floor in STANDS_ON: {sorted(parts - set(STANDS_ON))}"


def test_arrows_run_one_way() -> None:
    wrong = [arrow for path in library() for arrow in wrong_arrows(path.read_text("utf-8"), dotted(path))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("labkit.data.render", "from labkit.models import load_model"),
        ("labkit.attribution.cam", "import labkit.concepts.tcav"),
        ("labkit.attribution.cam", "from ..concepts import tcav"),
        ("labkit.plots", "def f():\n    from labkit.widgets import base"),
        ("labkit.models.zoo", "import importlib\nimportlib.import_module('labkit.checking.check')"),
        ("labkit.widgets.__init__", "from ..grading import check"),
        ("labkit.sandbox.worker", "from labkit.checking import compare"),
        ("labkit.app.lab", "from labkit.lab import start"),
    ],
)
def test_a_wrong_arrow_is_seen(where: str, source: str) -> None:
    assert wrong_arrows(source, where)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("labkit.models.zoo", "from labkit.data import downloads"),
        ("labkit.attribution.cam", "from .gradient import saliency"),
        ("labkit.attribution.__init__", "from .gradient import saliency"),
        ("labkit.checking.judge", "from labkit.exercises import find"),
        ("labkit.app.cli", "from labkit import __version__"),
        ("labkit.cli", "from labkit.app.cli import app"),
        ("labkit.data.photos", "import numpy"),
    ],
)
def test_a_right_arrow_passes(where: str, source: str) -> None:
    assert not wrong_arrows(source, where)


OTHER_LENGTHS = {  # the reason, and the length that is then allowed
    "labkit.data.loans": ("one table", (60, 75)),
    "labkit.adversarial.attacks": ("the first attack of several", (70, 300)),
    "labkit.data.objects": ("the table of classes, read by everyone", (60, 75)),
    "labkit.models.minivgg": ("one architecture", (45, 75)),
    "labkit.calls.recipes": ("the few networks that a worker may build", (45, 75)),
    "labkit.exercises.gradients_and_their_tricks": ("one file a notebook", (300, 460)),
    "labkit.exercises.surrogates_and_shapley": ("one file a notebook", (250, 460)),
    "labkit.exercises.learned_masks": ("one file a notebook", (250, 460)),
    "labkit.exercises.can_you_trust_a_heatmap": ("one file a notebook", (250, 460)),
    "labkit.exercises.which_pixels_matter": (
        "one file a notebook, and this one asks five questions",
        (300, 460),
    ),
}


def test_files_are_neither_scraps_nor_heaps() -> None:
    wrong = {}
    for path in library():
        length = len(path.read_text("utf-8").splitlines())
        low, high = OTHER_LENGTHS.get(dotted(path), ("", (75, 300)))[1]
        if path.name != "__init__.py" and not low <= length <= high:
            wrong[dotted(path)] = length
    assert not wrong, f"75 to 300 lines a file, or a reason in OTHER_LENGTHS: {wrong}"


@pytest.mark.parametrize("statement", ["import labkit", "import labkit.cli", "import labkit.grading"])
def test_importing_is_cheap(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*({{'torch', 'numpy', 'matplotlib', 'PIL'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_library_never_uses_pyplot() -> None:
    pattern = re.compile(r"matplotlib\.pyplot|from matplotlib import .*pyplot|\bpylab\b")
    users = [dotted(path) for path in library() if pattern.search(path.read_text("utf-8"))]
    assert not users, f"pyplot is not safe in threads; use matplotlib.figure.Figure: {users}"


def test_nothing_committed_names_a_path_of_a_machine() -> None:
    places = ("home", "Users", "root", "work", "mnt", "tmp/venv")
    pattern = re.compile(
        r"(?<![\w.~/-])/(?:" + "|".join(places) + r")/\w" + "|" + "[A-Z]:" + r"\\+" + "Users", re.ASCII
    )
    found = []
    for path in committed():
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_the_top_level_stays_small() -> None:
    allowed = {"pyproject.toml", "README.md", "LICENSE", ".gitignore", ".ci"}
    allowed |= {"labkit", "notebooks", "solutions", "tests", "data_scripts"}
    top = {path.relative_to(ROOT).parts[0] for path in committed()}
    assert top <= allowed, f"not expected at the top: {sorted(top - allowed)}"


def test_the_readme_names_only_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)\)", text) + re.findall(r'src="([^":]+)"', text)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, missing
