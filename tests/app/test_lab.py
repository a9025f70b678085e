"""The bench that every notebook begins with: pictures, scenes with their truth, and the record of claims."""

from __future__ import annotations

import json

import pytest
import torch

from labkit.checking import check as checking
from labkit.data import CLASSES, replace
from labkit.lab import claim, gather, start


@pytest.fixture(autouse=True)
def nothing_red(monkeypatch):
    """Other tests of this process may have left a check red."""
    monkeypatch.setattr(checking, "RED", set())


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("LABKIT_MODEL", "LABKIT_PHOTOS", "LABKIT_QUICK", "LABKIT_CLAIMS"):
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


def test_a_claim_is_printed_and_recorded(monkeypatch, tmp_path, capsys):
    file = tmp_path / "claims.jsonl"
    monkeypatch.setenv("LABKIT_CLAIMS", str(file))
    claim("A0", 3.14159, (3, 4), threshold=">= 2", holds=True, what="length", unit="px")
    claim("A0", 1, (0, 2), threshold=">= 2", holds=False, what="width")
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "A0 holds: length = 3.14 [3, 4] px, wanted >= 2"
    assert out[1].startswith("A0 does not hold: width = 1")
    first, second = map(json.loads, file.read_text().splitlines())
    assert first == {
        "id": "A0", "what": "length", "value": 3.14159, "interval": [3.0, 4.0],
        "threshold": ">= 2", "holds": True, "unit": "px",
    }  # fmt: skip
    assert second["holds"] is False


def test_quick_mode_judges_no_claim(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_QUICK", "1")
    claim("A0", 1, (0, 2), threshold=">= 2", holds=False, what="width")
    assert "A0 not judged (quick mode): width = 1" in capsys.readouterr().out


def measured(capsys, **options):
    claim("A0", 3, (3 - 1e-12, 4), threshold=">= 2", holds=True, what="length", **options)
    return capsys.readouterr().out


def test_a_claim_measured_with_a_wrong_function_says_so(monkeypatch, capsys):
    uses = ("evaluation.energy_inside", "attribution.cam")
    monkeypatch.setattr(checking, "RED", {"evaluation.energy_inside", "attribution.grad_cam"})
    first, second = measured(capsys, uses=uses).splitlines()
    assert first == "A0 holds: length = 3 [3, 4], wanted >= 2"
    assert second == ("   (measured with your own code, and a check is not passed: evaluation.energy_inside)")
    monkeypatch.setattr(checking, "RED", {"attribution.grad_cam"})
    assert len(measured(capsys, uses=iter(uses)).splitlines()) == 1


def test_a_claim_that_rests_on_the_library_alone_is_not_blamed_on_the_student(monkeypatch, capsys):
    monkeypatch.setattr(checking, "RED", {"evaluation.energy_inside"})
    assert measured(capsys) == "A0 holds: length = 3 [3, 4], wanted >= 2\n"


def test_a_number_that_is_nothing_but_rounding_is_shown_as_zero(capsys):
    claim("A0", 3, (-1e-17, 4), threshold=">= 2", holds=True, what="length")
    assert capsys.readouterr().out == "A0 holds: length = 3 [0, 4], wanted >= 2\n"


@pytest.mark.parametrize(
    ("uses", "error", "says"),
    [
        (("evaluation.energy_insid",), KeyError, "Did you mean 'evaluation.energy_inside'"),
        ("evaluation.energy_inside", TypeError, r"Write uses=\('evaluation.energy_inside',\)"),
    ],
)
def test_a_claim_refuses_what_is_no_exercise_before_it_says_anything(
    uses, error, says, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    with pytest.raises(error, match=says):
        measured(capsys, uses=uses)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "claims.jsonl").exists()
