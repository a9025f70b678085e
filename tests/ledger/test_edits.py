"""What an edit makes stale, on a copy of the kit: text nothing, behaviour what ran it; on every Python."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import attribution
from labkit.ledger.claims import known, read, reasons, text_of
from labkit.ledger.staleness import digests, resting

ROOT = Path(__file__).resolve().parents[2]
CAM = Path(inspect.getfile(attribution.cam)).resolve().relative_to(ROOT).as_posix()
# One claim of the copy rests on CAM; each of the others on everything else.
CLAIM = "A5"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which all claims are valid, and rest on as much as can be."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(ROOT / "labkit", root / "labkit", ignore=ignored)
    (root / "labkit/models/weights").symlink_to(ROOT / "labkit/models/weights")
    (root / "tests/claims").mkdir(parents=True)
    shutil.copy(ROOT / "tests/claims/verdicts.toml", root / "tests/claims")
    rests = {}
    for id, entry in read().items():
        names = [n for n in digests() if (n == "attribution.cam") == (id == CLAIM)]
        places = [place for claim, place in known().items() if claim == id]
        rests[id] = entry.__class__(
            **{**vars(entry), "rests": resting(names, places, ["minivgg", "minivgg-tag"])}
        )
    (root / "labkit/ledger/measured.json").write_text(text_of(rests), "utf-8")
    return root


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "kit", symlinks=True)
    return tmp_path / "kit"


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    setting = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=setting, capture_output=True, text=True, check=False
    )


def stale(root: Path) -> list[str]:
    """The claims of a copy that are stale."""
    return [id for id, entry in read(root / "labkit/ledger/measured.json").items() if reasons(entry, root)]


def edit(root: Path, file: str, pattern: str, new: str | Callable[[re.Match[str]], str]) -> None:
    path = root / file
    text, count = re.subn(pattern, new, path.read_text("utf-8"), flags=re.M)
    assert count, f"{pattern} is not in {file} any more"
    path.write_text(text, "utf-8")


CORE = (
    "core/checks", "core/hooks", "core/targets", "core/door", "core/statistics",
    "models/zoo", "models/receptive_fields", "models/fast", "data/render", "optimize/images",
)  # fmt: skip
NEW_METHOD = '''

def flat_map(model, images, target):
    """A new method."""
    return images.mean(1)


METHODS["flat_map"] = Method(flat_map, title="new method", paper="")
'''
SAYS_NOTHING: dict[str, Callable[[Path], None]] = {
    "a comment in each of ten core files": lambda root: [
        edit(root, f"labkit/{file}.py", r"\Z", "\n# A remark.\n") for file in CORE
    ],
    "a docstring in each of ten core files": lambda root: [
        edit(root, f"labkit/{file}.py", r'\A"""', '"""Another first word. ') for file in CORE
    ],
    "an error sentence": lambda root: edit(
        root, "labkit/core/checks.py", r"must be one of", "has to be among"
    ),
    "a renamed variable of a method": lambda root: edit(root, CAM, r"\bclasses\b(?!\()", "asked_classes"),
    "a new method": lambda root: edit(
        root, "labkit/attribution/__init__.py", r"^__all__ = \[", NEW_METHOD + "\n__all__ = ["
    ),
    "a widget": lambda root: edit(root, "labkit/widgets/comparer.py", r"\Z", "\nWIDTH = 3\n"),
    "a figure": lambda root: edit(root, "labkit/plots/figures.py", r"\Z", "\nWIDTH = 3\n"),
    "a download": lambda root: edit(root, "labkit/data/downloads.py", r"\Z", "\nTRIES = 3\n"),
}


def test_nothing_is_stale_at_first(original: Path) -> None:
    assert stale(original) == []


@pytest.mark.parametrize("what", SAYS_NOTHING)
def test_text_makes_nothing_stale(what: str, copy: Path) -> None:
    SAYS_NOTHING[what](copy)
    assert stale(copy) == []


@pytest.mark.slow
def test_text_moves_no_golden_answer_and_a_new_method_is_asked_for_its_own(copy: Path) -> None:
    for change in SAYS_NOTHING.values():
        change(copy)
    done = run(copy, "-m", "labkit.ledger.golden", "attribution.cam", "models.gap_head", "evaluation.iou")
    assert done.stdout == "3 golden answers are as they were\n", done.stderr
    done = run(copy, "-m", "labkit.ledger.golden", "attribution.flat_map", "--write")
    assert done.stdout == "attribution.flat_map has no golden answer yet\n", done.stderr
    assert stale(copy) == []


@pytest.mark.slow
def test_behaviour_makes_stale_exactly_what_ran_it(copy: Path) -> None:
    edit(copy, CAM, r"weight\[classes\]", "weight[classes].relu()")
    done = run(copy, "-m", "labkit.ledger.golden", "attribution.cam")
    assert done.returncode == 1
    assert done.stdout.startswith("attribution.cam: "), done.stderr
    assert "(allowed 0.0001)" in done.stdout
    assert stale(copy) == []  # the golden test is red until the file is written anew
    run(copy, "-m", "labkit.ledger.golden", "attribution.cam", "--write")
    assert stale(copy) == [CLAIM]
    told = run(copy, "-m", "labkit.cli", "claims", "--stale").stdout
    assert re.findall(r"^[A-Z]\d+", told, re.M) == [CLAIM]
    assert "stale: attribution.cam behaves otherwise" in told
    count, valid = map(int, re.search(r"(\d+) claims: (\d+) valid, 1 stale\.", told).groups())
    assert valid == count - 1 >= 17


def test_an_experiment_makes_its_own_claims_stale(copy: Path) -> None:
    place = known()["A1"].partition("::")[0]
    edit(copy, place, r"(def a1\(.*)", r"\1  # a remark")
    assert stale(copy) == []
    edit(copy, place, r"\Z", "\n\ndef unused():\n    return 1\n")
    assert stale(copy) == []
    edit(copy, place, r'@experiment\("A1", LAB', '@experiment("A1", LAB + "x"')
    assert stale(copy) == ["A1"]


JUDGE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from labkit.ledger.claims import read, reasons
print(json.dumps({id: reasons(entry) for id, entry in read().items()}))
assert not {"torch", "numpy"} & set(sys.modules)
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_judges_alike(version: str, copy: Path) -> None:
    from test_code import PYTHONS

    if PYTHONS[version] is None:
        pytest.skip(f"there is no Python {version} here")
    SAYS_NOTHING["a docstring in each of ten core files"](copy)
    edit(copy, known()["A1"].partition("::")[0], r'@experiment\("A1", LAB', '@experiment("A1", LAB + "x"')
    done = subprocess.run(
        [str(PYTHONS[version]), "-I", "-c", JUDGE, str(copy)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {id for id, why in found.items() if why} == {"A1"}
