"""The mask explorer's traits, with `set_state` in the browser's place, against the library's own function."""

import time

import numpy as np
import pytest
import torch

from labkit.attribution import extremal_perturbation_result
from labkit.optimize import masked
from labkit.widgets import MaskExplorer
from labkit.widgets.mask import WEIGHT

AREAS = (0.1, 0.3, 0.6)


@pytest.fixture
def truth():
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[0, 8:20, 10:22] = True
    return masks  # the others have none


@pytest.fixture
def explorer(tiny, pictures, truth):
    widget = MaskExplorer(tiny, pictures, areas=AREAS, steps=6, labels=[1, "a wolf", 0], masks=truth)
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


@pytest.mark.parametrize("mode", ["preserve", "delete"])
@pytest.mark.parametrize("target", [-1, 2])
def test_masks_and_scores_are_the_library_s(explorer, pictures, mode, target):
    explorer.set_state({"picture": 1, "target": target, "mode": mode})
    explorer.wait_idle()
    asked = int(explorer.model(pictures[1:2]).argmax()) if target < 0 else target
    found = extremal_perturbation_result(
        explorer.model, pictures[1:2], asked, area=list(AREAS), mode=mode, steps=6
    )
    assert torch.allclose(explorer.masks, found.masks[0], atol=0.5 / 255 + 1e-6)
    answer = explorer.answer
    assert answer["achieved"] == pytest.approx(found.achieved[0].tolist())
    left = found.masks[0] if mode == "preserve" else 1 - found.masks[0]
    shown = masked(pictures[1:2].expand(3, -1, -1, -1), left)
    chances = explorer.model(shown).softmax(1).detach()
    assert answer["p"] == pytest.approx(chances[:, asked].tolist(), abs=1e-5)
    assert answer["best"] == chances.argmax(1).tolist()
    sent = np.frombuffer(answer["shown"], np.uint8).reshape(3, 32, 32, 3)
    assert np.abs(sent - shown.detach().permute(0, 2, 3, 1).numpy() * 255).max() <= 0.51


def test_the_overlap_with_the_truth(explorer, truth):
    inside = explorer.masks > 0.5
    expected = [float((m & truth[0]).sum() / (m | truth[0]).sum()) for m in inside]
    assert explorer.answer["iou"] == pytest.approx(expected, abs=0.02)
    explorer.set_state({"picture": 1})
    explorer.wait_idle()
    assert explorer.answer["iou"] == []


def test_it_starts_near_a_seventh_and_keeps_what_it_found(explorer):
    assert explorer.stop == 0
    calls = explorer.model.calls
    explorer.set_state({"mode": "delete"})
    explorer.wait_idle()
    assert explorer.model.calls > calls
    calls = explorer.model.calls
    explorer.set_state({"mode": "preserve"})
    explorer.set_state({"stop": 2})
    explorer.wait_idle()
    assert explorer.model.calls == calls


def test_an_exported_page_carries_what_was_precomputed(explorer):
    explorer.precompute(pictures=[0, 2])
    kinds = [(a["kind"], a["picture"], a.get("mode")) for a in explorer._saved()]
    assert {k for k in kinds if k[0] == "mask"} == {
        ("mask", p, m) for p in (0, 2) for m in ("preserve", "delete")
    }
    assert {k[1] for k in kinds if k[0] == "photo"} == {0, 2}


def test_cancel_stops_the_search(tiny, pictures):
    widget = MaskExplorer(tiny, pictures, areas=AREAS, steps=10**6)
    widget.cancel = True
    widget.wait_idle(30)
    assert (widget.status, widget.answer) == ("stopped", None)


def test_a_coarse_answer_comes_first_and_the_same_as_ever_after_it(tiny, pictures, monkeypatch):
    areas, told = (0.1, 0.2, 0.3, 0.6), []
    monkeypatch.setattr("labkit.widgets.mask.COARSE", 1e9)
    widget = MaskExplorer(tiny, pictures, areas=areas, steps=30, stop=1)
    widget.wait_idle()  # a search that is quick needs no coarse one
    assert not widget.delivery["coarse"]
    widget.observe(lambda change: told.append(change["new"]), "delivery")
    # time for twelve steps of two areas
    monkeypatch.setattr("labkit.widgets.mask.COARSE", 12 * 2 * WEIGHT * widget._pass)
    widget.set_state({"mode": "delete"})
    widget.wait_idle()
    first, last = told[0], told[-1]
    assert (first["coarse"], first["stops"], len(first["p"])) == (True, [1, 3], 2)
    assert (last["coarse"], last["stops"], len(last["p"])) == (False, [0, 1, 2, 3], 4)
    found = extremal_perturbation_result(
        tiny, pictures[:1], last["target"], area=list(areas), mode="delete", steps=30
    )
    assert torch.allclose(widget.masks, found.masks[0], atol=0.5 / 255 + 1e-6)
    assert [a["coarse"] for a in widget._saved() if a["kind"] == "mask"] == [False, False]


def test_the_latest_wish_ends_a_coarse_search(tiny, pictures, monkeypatch):
    monkeypatch.setattr("labkit.widgets.mask.FEWEST", 10**7)  # steps that never end
    monkeypatch.setattr("labkit.widgets.mask.COARSE", 0.0)
    widget = MaskExplorer(tiny, pictures, areas=AREAS, steps=10**7)
    while not widget.model.calls > 10:
        time.sleep(0.01)
    monkeypatch.setattr("labkit.widgets.mask.FEWEST", 2)
    widget.steps = 4
    widget.set_state({"picture": 1})
    widget.wait_idle(30)
    assert (widget.answer["picture"], widget.answer["coarse"]) == (1, False)
    assert widget._cache.get(("coarse", 0, widget.answer["target"], "preserve")) is None


@pytest.mark.parametrize(("share", "known"), [(0.0001, [0]), (0.5, [0, 2])])
def test_the_coarse_search_takes_the_areas_it_has_time_for(explorer, monkeypatch, share, known):
    explorer.steps = 1000
    monkeypatch.setattr("labkit.widgets.mask.COARSE", share * WEIGHT * explorer._pass * 3 * 1000)
    stops, steps = explorer._coarse()
    assert stops == known
    assert 6 <= steps <= 1000


@pytest.mark.parametrize("areas", [(), (0.0, 0.5), (0.5, 0.2), (0.5, 1.0)])
def test_bad_areas_get_a_sentence(tiny, pictures, areas):
    with pytest.raises(ValueError, match=r"areas must be rising shares of the picture.*For example"):
        MaskExplorer(tiny, pictures, areas=areas)


def test_bad_stops_modes_and_masks_get_a_sentence(explorer, tiny, pictures):
    with pytest.raises(IndexError, match=r"stop must be from 0 to 2; got 3. See \.areas"):
        explorer.stop = 3
    with pytest.raises(Exception, match="preserve"):
        explorer.mode = "remove"
    with pytest.raises(ValueError, match=r"masks must have one mask a picture"):
        MaskExplorer(tiny, pictures, masks=torch.zeros(3, 8, 8, dtype=torch.bool))


def test_probabilities_of_a_network_that_gives_them_are_its_own(tiny, pictures):
    ended = torch.nn.Sequential(tiny, torch.nn.Softmax(1)).eval()
    ended.classes, ended.input_size = tiny.classes, 32
    widget = MaskExplorer(ended, pictures, areas=AREAS, steps=2)
    widget.wait_idle()
    found = extremal_perturbation_result(
        ended, pictures[:1], widget.answer["target"], area=list(AREAS), steps=2
    )
    own = ended(found.shown[0])[:, widget.answer["target"]]
    assert widget.answer["p"] == pytest.approx(own.tolist(), abs=1e-4)
