"""The wheel that students install holds all it needs, nothing it must not, and brings its notebooks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, without the network: setuptools is one of the test requirements."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("labkit", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder / "dist")
    run(sys.executable, "-m", "pip", "wheel", *options, folder)
    (built,) = (folder / "dist").glob("labkit-*.whl")
    return built


def test_it_is_whole_and_small(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    kept = {".py", ".js", ".css", ".html", ".safetensors", ".json", ".jsonl"}
    for path in (ROOT / "labkit").rglob("*"):
        if path.suffix in kept and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    carried = {Path(name).name for name in names if "/share/labkit/notebooks/" in name}
    assert carried == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} != set()
    assert wheel.stat().st_size < 60e6  # of all networks together; each one's bound is in models/test_zoo


def test_it_gives_nothing_away(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        books = [archive.read(name).decode() for name in names if name.endswith(".ipynb")]
    assert not [name for name in names if name.split("/")[0] in ("solutions", "tests", "data_scripts")]
    assert not [book for book in books if "BEGIN SOLUTION" in book]


def test_installed_it_brings_its_notebooks(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env")
    scripts = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    python = next(scripts.glob("python*"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code, cwd=tmp_path).strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    home = run(python, "-c", "import labkit; print(labkit.__file__)", cwd=tmp_path).strip()
    assert Path(home).is_relative_to(tmp_path)
    said = run(scripts / "labkit", "lab", "mine", "--copy", cwd=tmp_path)
    assert "01_warm_up.ipynb: copied" in said
    assert (tmp_path / "mine" / "21_which_pixels_matter.ipynb").is_file()
    told = run(
        scripts / "labkit", "claims", "A1", cwd=tmp_path
    )  # whatever Python it is, and judged elsewhere
    assert "; measured on " in told.splitlines()[0]
    assert told.splitlines()[-1] == "1 claim; whether stale or not is judged in a checkout."
