"""The claims of the lectures: the ledger is complete, and measured again where code has changed."""

from __future__ import annotations

import ast
import json
import operator
import os
import re

import pytest

from labkit.ledger.provenance import rests_on

from .ledger import CLAIMS, ROOT, code_cells, code_hash, read, run, write

LEDGER = read()
# Claim -> why it does not hold; strict: one that holds must leave.
EXPECTED_TO_FAIL = {
    "A10": "one of three numbers holds (version 2 overlaps the object more, by .10). Version 1's mask has an "
    "IoU of .30 with the object, not < .2: here one thing carries nearly all evidence, and a free mask finds "
    "it too. What version 2 leaves fools another network no more often (-.04 [-.10, .02]): they share "
    "their design and their world. Not tested: a network of another design, photographs.",
    "A9": "two of three numbers hold (another weather flips .66, removing the tank .17); but one place gets "
    "3.2 times its share of a map, not at most 1.3: the tank, in guided backpropagation, which draws edges "
    "of whatever stands there (A3, A4). The network still looks at the tank too, so a map of it is not "
    "wrong. Proposed: at most 1.3 on the sky, where the cause is, for maps that ask the class (Grad-CAM).",
    "A7": "the honest network's saliency peaks within tolerance of the tag in .17 of the pictures, not < .1. "
    "The tag with its tolerance covers .11 of the picture and touches the horse in .59 of them: with the tag "
    "erased the same network peaks there in .18 (three seeds, tagged/erased: .17/.18, .11/.16, .10/.10): the "
    "threshold lies below chance. Proposed: tagged minus erased < .1. All nine other numbers hold.",
}

# Fixed before anything was measured, as the lectures' list of claims has them.
THRESHOLDS = {
    "A1": {">= 2 (lower bound)", "< 0.25"},
    "A5": {"<= 1e-5"},
    "A2": {"> 0"},
    "A3": {">= 0.3"},
    "A4": {"> 0 (lower bound)"},
    "A6": {"<= 1e-3", "<= 1e-6"},
    "A7": {">= 0.8", ">= 0.6", "< 0.1"},
    "A8": {">= 0.5", "< 0.1", "> 0 (lower bound)", "< 0 (upper bound)"},
    "A9": {">= 0.6", "< 0.2", "<= 1.3"},
    "A10": {"< 0.2", "> 0 (lower bound)"},
    "A11": {"<= 0.1"},
    "A12": {">= 0.6", "< 0 (upper bound)", ">= 2", "> 0 (lower bound)"},
    "A13": {">= 0.7", "> 0 (lower bound)"},
    "A14": {">= 0.9", ">= 0.3", ">= 2", "<= 0.1"},
    "A15": {"> 0 (lower bound)"},
    "A16": {">= 0.05", "> 0 (lower bound)"},
    "A17": {">= 0.8"},
    "A18": {">= 0.2"},
}


@pytest.mark.parametrize("id", [id for ids in CLAIMS.values() for id in ids])
def test_the_ledger_has_every_claim_in_full(id):
    entry = LEDGER[id]
    assert set(entry) == {
        "notebook", "holds", "measures", "code", "commit", "date", "seconds", "changes"
    }  # fmt: skip
    assert entry["measures"]
    assert re.fullmatch(r"[0-9a-f]{7,}", entry["commit"])
    assert entry["seconds"] > 0
    for what, record in entry["measures"].items():
        assert set(record) == {"value", "interval", "threshold", "holds", "unit", "first"}, what
        low, high = record["interval"]
        assert low <= record["value"] <= high, what
    assert entry["holds"] == all(record["holds"] for record in entry["measures"].values())
    assert entry["holds"] == (id not in EXPECTED_TO_FAIL), EXPECTED_TO_FAIL.get(id, "it no longer holds")


@pytest.mark.parametrize("id", list(THRESHOLDS))
def test_no_threshold_has_moved(id):
    assert {record["threshold"] for record in LEDGER[id]["measures"].values()} == THRESHOLDS[id]


def test_what_holds_follows_from_the_numbers():
    compare = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}
    for id, entry in LEDGER.items():
        for what, record in entry["measures"].items():
            sign, number = record["threshold"].split()[:2]
            value = record["value"]
            if "bound" in record["threshold"]:
                value = record["interval"]["upper" in record["threshold"]]
            assert record["holds"] == compare[sign](value, float(number)), (id, what)


@pytest.mark.parametrize("notebook", list(CLAIMS))
def test_each_claim_of_a_notebook_is_recorded_by_a_cell(notebook):
    recorded = set()
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim":
                recorded.add(ast.literal_eval(node.args[0]))
    assert recorded == set(CLAIMS[notebook]) == {id for id, e in LEDGER.items() if e["notebook"] == notebook}


def test_the_code_hash_sees_a_change_and_not_a_comment(monkeypatch):
    notebook = next(iter(CLAIMS))
    cells = code_cells(notebook)
    before = code_hash(notebook)
    monkeypatch.setattr("claims.ledger.code_cells", lambda name: [*cells[:-1], cells[-1] + "\n# a remark"])
    assert code_hash(notebook) == before
    monkeypatch.setattr("claims.ledger.code_cells", lambda name: [*cells, "scenes = 1"])
    assert code_hash(notebook) != before


def test_the_hash_rests_on_what_the_notebook_uses_and_on_nothing_else():
    names = {path.relative_to(ROOT).as_posix() for path in rests_on(code_cells("21_which_pixels_matter"))}
    used = (
        "lab.py",
        "attribution/occlusion_sensitivity.py",
        "models/hooks.py",
        "data/render.py",
    )
    assert {f"labkit/{name}" for name in (*used, "evaluation/localization.py")} <= names
    assert not names & {"labkit/attribution/rise.py", "labkit/plots.py", "labkit/grading/check.py"}
    every = rests_on(["from labkit.attribution import METHODS"])
    assert ROOT / "labkit/attribution/rise.py" in every  # the table leads to all methods


def test_the_first_value_and_the_reasons_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("claims.ledger.LEDGER", tmp_path / "measured.json")
    notebook = next(iter(CLAIMS))
    for value, note in ((1.0, ""), (2.0, "a mended mask")):
        record = {"value": value, "interval": [0, 3], "threshold": "< 9", "holds": True, "unit": ""}
        write(notebook, {"Z1": {"length": record}}, 1.5, note)
    entry = json.loads((tmp_path / "measured.json").read_text())["Z1"]
    assert (entry["measures"]["length"]["first"], entry["measures"]["length"]["value"]) == (1.0, 2.0)
    assert entry["changes"] == ["a mended mask"]


@pytest.mark.claims
@pytest.mark.parametrize("notebook", list(CLAIMS))
def test_a_full_run_finds_again_what_the_ledger_says(notebook):
    entries = {id: LEDGER[id] for id in CLAIMS[notebook]}
    unchanged = all(entry["code"] == code_hash(notebook) for entry in entries.values())
    if unchanged and not os.environ.get("LABKIT_CLAIMS_AGAIN"):
        pytest.skip("the code is the one the ledger was measured on; LABKIT_CLAIMS_AGAIN=1 measures again")
    found, _ = run(notebook)
    assert {id: set(measures) for id, measures in found.items()} == {
        id: set(entry["measures"]) for id, entry in entries.items()
    }
    for id, measures in found.items():
        for what, record in measures.items():
            known = entries[id]["measures"][what]
            assert record["threshold"] == known["threshold"]
            assert record["holds"] == known["holds"], f"{id}, {what}: {record}"
            reach = max(0.02 * abs(known["value"]), 0.03, known["interval"][1] - known["interval"][0])
            assert abs(record["value"] - known["value"]) <= reach, f"{id}, {what}: {record}, was {known}"
