"""When a number is stale: behaviour, experiment or network have changed; and when not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.ledger.claims import Entry, Number, enter, known, read, reasons
from labkit.ledger.staleness import Rests, checkout, digests, resting, stale_because

EXPERIMENT = "labkit/experiments/lab.py::z1"
CHANGED = f"{EXPERIMENT} was changed"
SOURCE = '''
"""A lab."""
from labkit.experiments.bench import Bench, experiment


def helper(x):
    return x + 1


@experiment("Z1", "99_lab", own="lab.own")
def z1(bench, *, own):
    return helper(own(bench))


@experiment("Z10", "99_lab")
def z10(bench):
    return 10
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A little checkout."""
    for folder in ("labkit/experiments", "labkit/ledger", "labkit/models/weights", "tests/claims"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "labkit/experiments/lab.py").write_text(SOURCE)
    (tmp_path / "labkit/experiments/bench.py").write_text("class Bench: ...\n\n\ndef experiment(): ...\n")
    golden = {"data.render": {"": ["2", 1.0, 2.0]}, "attribution.cam": {"": ["one", 0.5]}}
    (tmp_path / "labkit/ledger/golden.json").write_text(json.dumps(golden))
    for name in ("net", "other"):
        (tmp_path / f"labkit/models/weights/{name}.safetensors").write_bytes(name.encode())
        (tmp_path / f"labkit/models/weights/{name}.json").write_text("{}")
    (tmp_path / "tests/claims/verdicts.toml").write_text("")
    return tmp_path


@pytest.fixture
def rests(root: Path) -> Rests:
    return resting(["attribution.cam", "data.gone"], [EXPERIMENT], ["net"], root)


def golden(root: Path, **answers: object) -> None:
    path = root / "labkit/ledger/golden.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | answers))


def rewrite(root: Path, old: str, new: str) -> None:
    path = root / "labkit/experiments/lab.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


UNMOVED = {
    "nothing": lambda root: None,
    "the golden answer of what did not run": lambda root: golden(
        root, **{"data.render": {"": ["2", 9.0, 2.0]}}
    ),
    "a new golden answer": lambda root: golden(root, **{"concepts.new": {"": ["one", 1.0]}}),
    "another network": lambda root: (root / "labkit/models/weights/other.json").write_text("{ }"),
    "a comment": lambda root: rewrite(root, "x + 1", "x + 1  # more"),
    "a module's docstring": lambda root: rewrite(root, "A lab.", "Another lab."),
    "another experiment": lambda root: rewrite(root, "return 10", "return 11"),
    "the bench, which has golden answers": lambda root: (root / "labkit/experiments/bench.py").write_text(""),
}
MOVED = {
    "a golden answer": (
        lambda root: golden(root, **{"attribution.cam": {"": ["one", 0.6]}}),
        "attribution.cam behaves otherwise (its golden answer has moved)",
    ),
    "no golden answer": (
        lambda root: (root / "labkit/ledger/golden.json").write_text("{}"),
        "attribution.cam has no golden answer any more",
    ),
    "the experiment": (lambda root: rewrite(root, "helper(own", "2 * helper(own"), CHANGED),
    "its helper": (lambda root: rewrite(root, "x + 1", "x + 2"), CHANGED),
    "whose function it takes": (lambda root: rewrite(root, "lab.own", "lab.other"), CHANGED),
    "its name": (lambda root: rewrite(root, "def z1(", "def z2("), f"{EXPERIMENT} is gone"),
    "the weights": (
        lambda root: (root / "labkit/models/weights/net.safetensors").write_bytes(b"more"),
        "the network net is another one",
    ),
    "the card": (
        lambda root: (root / "labkit/models/weights/net.json").write_text('{"a": 1}'),
        "the network net is another one",
    ),
}  # fmt: skip


def test_what_a_number_rests_on(root: Path, rests: Rests) -> None:
    assert set(rests["golden"]) == {"attribution.cam"}  # what has no answer cannot be compared
    assert set(rests["code"]) == {EXPERIMENT}
    assert set(rests["networks"]) == {"net"}
    assert stale_because(json.loads(json.dumps(rests)), root) == []


@pytest.mark.parametrize("what", UNMOVED)
def test_a_number_stays_valid(what: str, root: Path, rests: Rests) -> None:
    UNMOVED[what](root)
    assert stale_because(rests, root) == []


@pytest.mark.parametrize("what", MOVED)
def test_a_number_becomes_stale_and_says_why(what: str, root: Path, rests: Rests) -> None:
    change, reason = MOVED[what]
    change(root)
    assert stale_because(rests, root) == [reason]


def entry(value: float = 1.0, rests: Rests | None = None, what: str = "length") -> Entry:
    number = Number(
        what, (value, 0.5, 3.0), "< 9", True, True, "m", {"twin": (0.1, 0.0, 0.2)}, {"twin": "<= 1"}
    )
    return Entry(
        "99_lab", "holds", (number,), "2026-01-02", "abcdef1", 1.5, rests, ("a note",), {"torch": "2"}
    )


def test_an_entry_is_kept_as_it_was_written(tmp_path: Path, rests: Rests) -> None:
    path = tmp_path / "measured.json"
    enter("Z10", entry(), path)
    done = enter("Z2", entry(rests=rests), path)
    assert list(read(path)) == ["Z2", "Z10"]
    assert read(path)["Z2"] == replace(done, notes=["a note"], changes=[])
    assert "[1.0, 0.5, 3.0]" in path.read_text()


def test_the_first_value_and_the_reasons_stay(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    enter("Z1", entry(1.0), path)
    enter("Z1", entry(2.0), path, note="a mended mask")
    found = read(path)["Z1"]
    assert (found.number("length").first, found.number("length").value[0]) == (1.0, 2.0)
    assert list(found.changes) == ["a mended mask"]
    enter("Z1", entry(7.0, what="width"), path, note="asked otherwise")
    found = read(path)["Z1"]
    assert found.number("length") is None
    assert (found.number("width").first, found.earlier) == (7.0, {"length": 1.0})
    enter("Z1", entry(4.0), path)
    found = read(path)["Z1"]
    assert (found.number("length").first, found.earlier) == (1.0, {"width": 7.0})
    assert list(found.changes) == ["a mended mask", "asked otherwise"]


def test_a_state_is_told_in_a_checkout_alone(root: Path, rests: Rests) -> None:
    assert reasons(entry(), root) == ["measured before experiments had files of their own"]
    assert reasons(entry(rests=rests), root) == []
    rewrite(root, "x + 1", "x + 2")
    assert reasons(entry(rests=rests), root) == [CHANGED]
    (root / "tests/claims/verdicts.toml").unlink()
    assert not checkout(root)
    assert reasons(entry(rests=rests), root) is None


def test_claims_are_found_in_the_files_of_their_experiments(root: Path) -> None:
    assert known(root) == {"Z1": EXPERIMENT, "Z10": "labkit/experiments/lab.py::z10"}
    assert {"A10", "A12"} <= set(known())


def test_a_field_that_tells_what_was_done_makes_nothing_stale(tmp_path: Path) -> None:
    answers = {"attribution.a": {"map": ["1", 2.0]}}
    folder = tmp_path / "labkit" / "ledger"
    folder.mkdir(parents=True)
    (folder / "golden.json").write_text(json.dumps(answers))
    before = digests(tmp_path)
    answers["attribution.a"]["alive"] = ["1", 1.0]
    (folder / "golden.json").write_text(json.dumps(answers))
    assert digests(tmp_path) == before
    answers["attribution.a"]["map"] = ["1", 2.5]
    (folder / "golden.json").write_text(json.dumps(answers))
    assert digests(tmp_path) != before
