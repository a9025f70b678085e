"""The bench that every notebook begins with: pictures, scenes with their truth, and the record of claims."""

from __future__ import annotations

import json
import os
import re
import sysconfig
from types import SimpleNamespace

import pytest
import torch

from labkit.app import claim_table
from labkit.app.claim_table import ClaimTable
from labkit.checking import check as checking
from labkit.core.statistics import Interval
from labkit.data import CLASSES, GROUNDS, replace
from labkit.experiments.bench import Measure, Result
from labkit.lab import claim, gather, start
from labkit.ledger.claims import Number


@pytest.fixture(autouse=True)
def nothing_red(monkeypatch):
    """Other tests of this process may have left a check red."""
    monkeypatch.setattr(checking, "RED", set())


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("LABKIT_MODEL", "LABKIT_PHOTOS", "LABKIT_QUICK", "LABKIT_MODE", "LABKIT_CLAIMS"):
        monkeypatch.delenv(name, raising=False)


def test_it_starts_on_the_bundled_network_with_pictures_of_different_classes(capsys):
    lab = start("21_which_pixels_matter", pictures=3)
    assert capsys.readouterr().out == "21_which_pixels_matter: minivgg, 3 pictures (the truth is planted)\n"
    assert lab.images.shape == (3, 3, 128, 128)
    assert len(set(lab.labels.tolist())) == 3
    assert lab.names == [CLASSES[k] for k in lab.labels]
    assert (lab.planted, lab.quick, lab.needs_truth()) == (True, False, True)
    assert torch.equal(lab.images, start("21_which_pixels_matter", pictures=3).images)


def test_starting_fixes_the_seeds():
    def drawn():
        start("x", pictures=1)
        return torch.rand(3)

    assert torch.equal(drawn(), drawn())


def test_quick_mode_takes_few_scenes(monkeypatch):
    monkeypatch.setenv("LABKIT_QUICK", "1")
    lab = start("x", pictures=1)
    assert lab.quick
    assert (lab.count(100), lab.count(3)) == (6, 3)
    assert len(lab.scenes(40).images) == 6


def test_scenes_come_with_their_truth():
    lab = start("x", pictures=1)
    found = lab.scenes(3, kind="horse", faults=("tag",))
    assert {CLASSES[k] for k in found.labels} == {"horse"}
    assert found.tags.flatten(1).any(1).all()
    assert found.masks.flatten(1).any(1).all()
    assert not (found.masks & found.tags).flatten(1).all(1).any()
    erased = gather(replace(scene, without="tag") for scene in found.scenes)
    changed = (erased.images != found.images).any(1)
    assert changed.any()
    assert not (changed & ~found.tags).any()
    assert "horse" not in {CLASSES[k] for k in lab.scenes(12, not_kind="horse").labels}


def test_what_cannot_be_had_is_refused_with_a_sentence():
    lab = start("x", pictures=1)
    with pytest.raises(ValueError, match="kind must be a class of the world"):
        lab.scenes(1, kind="unicorn")
    with pytest.raises(ValueError, match="n must be a whole number"):
        lab.scenes(0)


def test_an_unknown_network_is_named(monkeypatch):
    monkeypatch.setenv("LABKIT_MODEL", "minivg")
    with pytest.raises(ValueError, match="minivgg"):
        start("x")


def test_photographs_take_the_place_of_scenes(monkeypatch, tmp_path, capsys):
    from labkit.data.photos import save_photo

    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    net.classes, net.input_size = ["red", "green", "blue"], 32
    monkeypatch.setattr("labkit.app.lab.load_model", lambda name: net)
    monkeypatch.setenv("LABKIT_MODEL", "somebodys")
    monkeypatch.setenv("LABKIT_PHOTOS", str(tmp_path))
    picture = torch.zeros(3, 40, 40)
    picture[2] = 1
    save_photo(picture, tmp_path / "holiday.png")
    save_photo(picture, tmp_path / "001_goldfish.png")
    lab = start("x")
    assert "photographs, no planted truth" in capsys.readouterr().out
    assert lab.images.shape == (2, 3, 32, 32)
    assert dict(zip(lab.names, lab.labels.tolist(), strict=True)) == {"001_goldfish": 1, "holiday": 2}
    assert not lab.needs_truth()
    assert "needs the planted truth" in capsys.readouterr().out


def test_a_network_that_names_grounds_is_shown_scenes_and_asked_nothing_about_objects(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_MODEL", "minivgg-scenes")
    lab = start("21_which_pixels_matter")
    assert "it names the ground, so that cells about objects are skipped" in capsys.readouterr().out
    assert len(lab.images) == 8
    assert set(lab.names[:6]) == set(GROUNDS)
    assert lab.names == [lab.classes[k] for k in lab.labels]
    with torch.no_grad():
        assert (lab.model(lab.images).argmax(1) == lab.labels).all()
    assert (lab.planted, lab.needs_truth()) == (False, False)
    assert "this network names the ground" in capsys.readouterr().out


def test_the_size_comes_from_the_environment(monkeypatch):
    assert start("x", pictures=1).bench.mode == "class"
    monkeypatch.setenv("LABKIT_MODE", "full")
    assert start("x", pictures=1).count(100) == 100
    monkeypatch.setenv("LABKIT_MODE", "fast")
    with pytest.raises(ValueError, match="LABKIT_MODE must be one of 'quick', 'class', 'full'; got 'fast'"):
        start("x")


LENGTH = Measure("length", Interval(3.0, 2.5, 4.0), ">= 2", "px")


def said(capsys, *measures: Measure, **given) -> list[str]:
    claim(Result(measures, id="A0", **given))
    return capsys.readouterr().out.splitlines()


def test_a_claim_is_printed_and_recorded(monkeypatch, tmp_path, capsys):
    file = tmp_path / "claims.jsonl"
    monkeypatch.setenv("LABKIT_CLAIMS", str(file))
    width = Measure("width", Interval(1.0, 0.0, 2.0), ">= 2")
    out = said(capsys, LENGTH, width, notes=("half of them are cut off",))
    assert out == [
        "A0 holds: length = 3 [2.5, 4] px, wanted >= 2",
        "A0 does not hold: width = 1 [0, 2], wanted >= 2",
        "   half of them are cut off",
    ]
    first, second = map(json.loads, file.read_text().splitlines())
    assert first == {
        "id": "A0", "what": "length", "value": [3.0, 2.5, 4.0], "threshold": ">= 2", "holds": True,
        "mode": "class",
    }  # fmt: skip
    assert second["holds"] is False


def test_a_claim_stands_beside_its_controls(capsys):
    controls = {"twin": Interval(2.9, 2.0, 3.1), "colour": Interval(0.5, 0.4, 0.6)}
    measure = Measure("length", Interval(3.0, 2.5, 4.0), ">= 2", "px", controls, {"twin": "<= 1"})
    assert said(capsys, measure) == [
        "A0 holds, and so does its control: length = 3 [2.5, 4] px, wanted >= 2",
        "   beside it, twin: 2.9 [2, 3.1], wanted <= 1",
        "   beside it, colour: 0.5 [0.4, 0.6]",
    ]


def test_in_a_notebook_a_claim_is_a_table_with_the_numbers_in_full_beside(monkeypatch):
    controls = {"twin": Interval(2.9, 2.0, 3.1), "a < b": Interval(0.5, 0.4, 0.6)}
    full = Number("length", (7.0, 6.0, 8.0), ">= 2", True, control={"twin": (0.25, 0.0, 0.5)})
    entry = SimpleNamespace(date="2026-01-02")
    kept = {"length": (entry, full)}
    monkeypatch.setattr(claim_table, "kept_number", lambda id, what: kept.get(what))
    monkeypatch.setattr("labkit.ledger.claims.reasons", lambda entry: ["the network is another one"])
    measure = Measure("length", Interval(3.0, 2.5, 4.0), ">= 2", "px", controls, {"twin": "<= 1"})
    result = Result((measure, Measure("width", Interval(1.0, 0.0, 2.0), ">= 2")), ("a & b",), id="A0")
    page = ClaimTable(result, "class", ["attribution.cam"])._repr_html_()
    cells = [re.sub(r"<.*?>", " ", cell).split() for cell in re.findall(r"<td.*?</td>", page, re.S)]
    assert [" ".join(cell) for cell in cells] == [
        "holds, and so does its control length", "3 [2.5, 4] px", "7 [6, 8] holds", "&gt;= 2",
        "beside it: twin", "2.9 [2, 3.1]", "0.25 [0, 0.5]", "&lt;= 1",
        "beside it: a &lt; b", "0.5 [0.4, 0.6]", "", "",
        "does not hold width", "1 [0, 2]", "", "&gt;= 2",
    ]  # fmt: skip
    assert ">A0: does not hold</th>" in page
    notes = re.findall(r"<p>(.*?)</p>", page)
    assert notes[0] == "a &amp; b"
    assert notes[1].endswith("a check is not passed: attribution.cam)")
    assert "something blind is as good" in notes[2]
    assert notes[3].startswith("Brackets are intervals of 95 %")
    assert notes[4] == "In full: measured on 2026-01-02, stale (labkit claims A0)."
    alone = ClaimTable(Result((measure,), id="A0"), "quick")._repr_html_()
    assert "something blind" not in alone
    assert "in full</th>" not in ClaimTable(result, "full")._repr_html_().replace("here, in full", "")
    assert "not judged (quick mode)" in ClaimTable(result, "quick")._repr_html_()


def test_quick_mode_judges_no_claim(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_QUICK", "1")
    assert said(capsys, LENGTH)[0].startswith("A0 not judged (quick mode): length = 3")


def test_a_claim_measured_with_a_wrong_function_says_so(monkeypatch, capsys):
    uses = ("evaluation.energy_inside", "attribution.cam")
    monkeypatch.setattr(checking, "RED", {"evaluation.energy_inside", "attribution.grad_cam"})
    assert said(capsys, LENGTH, uses=uses)[1] == (
        "   (measured with your own code, and a check is not passed: evaluation.energy_inside)"
    )
    monkeypatch.setattr(checking, "RED", {"attribution.grad_cam"})
    assert len(said(capsys, LENGTH, uses=uses)) == 1


def test_a_claim_that_rests_on_the_library_alone_is_not_blamed_on_the_student(monkeypatch, capsys):
    monkeypatch.setattr(checking, "RED", {"evaluation.energy_inside"})
    assert len(said(capsys, LENGTH)) == 1


def test_a_prediction_is_kept_and_shown_beside_the_outcome(capsys):
    lab = start("t", pictures=2)
    lab.predict("share", ...)
    lab.predicted("share")
    lab.predict("share", 0.4)
    lab.predicted("share")
    said = capsys.readouterr().out.splitlines()[1:]
    assert said == [
        "(write your prediction in place of the dots)", "you predicted: nothing yet",
        "kept: 0.4", "you predicted: 0.4",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="no prediction 'peak' was asked for; there are \\['share'\\]"):
        lab.predicted("peak")


def test_each_picture_gets_a_map_for_its_own_class():
    lab = start("t", pictures=3)
    maps = lab.each(lambda x, k: x[:, 0] + k, lab.images, lab.labels)
    assert torch.equal(maps, lab.images[:, 0] + lab.labels[:, None, None])


def test_labkit_is_found_by_the_shell_of_a_notebook(monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join(("/somewhere", "/else")))
    for _ in range(2):
        start("t", pictures=1)
        assert os.environ["PATH"].split(os.pathsep) == [sysconfig.get_path("scripts"), "/somewhere", "/else"]
