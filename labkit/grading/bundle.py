"""``labkit release --bundle``: what students get, in one zip."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import labkit
from labkit.core.files import write_whole
from labkit.grading.release import ReleaseError, is_edited

__all__ = ["release_bundle"]

START = """\
Needs Python 3.11 or newer. In this folder (the first time loads some GB and takes minutes):

Linux, macOS:
    python3 -m venv .venv
    .venv/bin/pip install {wheel}
    .venv/bin/labkit lab

Windows (PowerShell):
    py -m venv .venv
    .venv\\Scripts\\pip install {wheel}
    .venv\\Scripts\\labkit lab

On Linux without a GPU this first, it saves several GB:
    .venv/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu

"labkit lab" copies the notebooks into the folder "labs" and opens them there: work in these copies.
Something does not work? .venv/bin/labkit doctor (Windows: .venv\\Scripts\\labkit doctor)
"""


def release_bundle(
    out: str | Path = "dist", *, notebooks: str | Path = "notebooks", root: str | Path | None = None
) -> Path:
    """Write one zip with what students get: wheel and notebooks, without ``solutions/`` and ``tests/``.

    The wheel holds the library and the references that ``check`` compares with; marks rest on hidden cases
    that are drawn from the course's secret.

    ``out``: folder for ``labkit-VERSION-labs.zip``; ``notebooks``: folder of the student copies, relative to
    ``root``; ``root``: the checkout, by default the one that this kit is installed from.

    Raises FileNotFoundError outside a checkout, and ReleaseError if something that students must not get is
    in.
    """
    root = Path(root or Path(labkit.__file__).resolve().parent.parent)
    if not (root / "pyproject.toml").exists():
        raise FileNotFoundError(f"no pyproject.toml in {root}. Make the bundle in a checkout of the kit.")
    copies = sorted((root / notebooks).glob("*.ipynb"))
    for path in copies:
        if is_edited(path) or "SOLUTION" in path.read_text(encoding="utf-8"):
            raise ReleaseError(f"{path} is not as it was released. Run labkit release first.")
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(root, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            leaked = [n for n in archive.namelist() if n.startswith(("solutions/", "tests/"))]
        if leaked:
            raise ReleaseError(f"the wheel holds {leaked[0]}. Take it out of the package's configuration.")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(wheel, wheel.name)
            for path in copies:
                archive.write(path, f"notebooks/{path.name}")
            archive.writestr("START_HERE.txt", START.format(wheel=wheel.name))
    return write_whole(Path(out) / f"labkit-{labkit.__version__}-labs.zip", packed.getvalue())


def _wheel(root: Path, folder: Path) -> Path:
    """Build the wheel from a copy of the sources, so that the checkout stays as it is."""
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (root / name).exists():
            shutil.copy(root / name, copy)
    for name in ("labkit", "notebooks"):
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ReleaseError(f"the wheel could not be built: {done.stderr.strip().splitlines()[-1:]}.")
    return wheels[0]
