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
        ("labkit.attribution.cam", "import labkit.concepts.concept_tests"),
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


LOW, HIGH = 60, 300
SHORT = {  # what may be shorter than a family of functions, and why
    "labkit.cli": "a door",
    "labkit.lab": "a door",
    "labkit.core.files": "a door to the disk",
}


def lengths() -> dict[str, int]:
    return {
        dotted(path): len(path.read_text("utf-8").splitlines())
        for path in library()
        if path.name != "__init__.py"
    }


def test_files_are_neither_scraps_nor_heaps() -> None:
    wrong = {name: n for name, n in lengths().items() if n > HIGH or (n < LOW and name not in SHORT)}
    assert not wrong, f"{LOW} to {HIGH} lines a file, or an architecture, a table or a door: {wrong}"


def test_what_may_be_short_is_there_and_short() -> None:
    found = lengths()
    assert not [name for name in SHORT if found.get(name, LOW) >= LOW]


def private_imports(source: str, module: str) -> list[str]:
    """The private names of other files of labkit that a source imports, or reaches through a module."""
    tree, found, modules = ast.parse(source), [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit"):
            names = [alias.name for alias in node.names]
            found += [f"{module}: {node.module}.{n}" for n in names if n[0] == "_" and n[:2] != "__"]
            modules |= {alias.asname or alias.name for alias in node.names if alias.name.islower()}
        elif isinstance(node, ast.Import):
            modules |= {a.asname for a in node.names if a.name.startswith("labkit") and a.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
            owner = node.value
            if isinstance(owner, ast.Name) and owner.id in modules:
                found.append(f"{module}: {owner.id}.{node.attr}")
    return found


def test_no_private_name_crosses_files() -> None:
    found = [use for path in library() for use in private_imports(path.read_text("utf-8"), dotted(path))]
    assert not found, "make these public, or move what uses them: " + ", ".join(found)


@pytest.mark.parametrize(
    "source",
    ["from labkit.attribution.cam import _x", "from labkit.sandbox import walls\nwalls._libc()"],
)
def test_a_private_name_of_another_file_is_seen(source: str) -> None:
    assert private_imports(source, "here")


def test_docstrings_have_one_style() -> None:
    other = re.compile(r"^ *(Args|Arguments|Returns|Raises|Parameters):? *$|^ *-{4,} *$", re.MULTILINE)
    found = []
    for path in library():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if other.search(text):
                    found.append(f"{dotted(path)}.{getattr(node, 'name', '')}")
    assert not found, f"prose, then a line an argument (``name``: what it is): {found}"


def test_every_file_says_what_it_is_in_a_line() -> None:
    wrong = []
    for path in library():
        first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
        if not 20 <= len(first) <= 120:
            wrong.append(dotted(path))
    assert not wrong, wrong


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
