"""The ascent explorer's traits, with `set_state` in the browser's place, against the library's ascent."""

import pytest
import torch

from labkit.models import unit
from labkit.visualization import visualize_result
from labkit.widgets import AscentExplorer
from labkit.widgets.kit.worker import Stopped

PLAIN = {"space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0, "rate": 0.05}


@pytest.fixture
def explorer(tiny, pictures):
    widget = AscentExplorer(tiny, pictures, layers=["conv"], target=1, steps=12, every=4)
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def close(a, b):
    return torch.allclose(a, b, atol=1 / 254)


def test_frames_and_scores_are_the_library_s(explorer, pictures):
    wanted = visualize_result(explorer.model, 1, start=pictures[:1], steps=12, every=1, **PLAIN)
    answer = explorer.answer
    assert answer["complete"]
    assert answer["at"] == [0, 4, 8, 12]
    assert close(explorer.frames, wanted.frames[answer["at"], 0])
    assert answer["scores"] == pytest.approx(
        [float(wanted.scores[max(0, step - 1), 0]) for step in answer["at"]], rel=1e-4
    )


def test_each_frame_is_named_by_the_network(explorer, pictures):
    answer, wanted = (
        explorer.answer,
        visualize_result(explorer.model, 1, start=pictures[:1], steps=12, every=1, **PLAIN),
    )
    shown = wanted.frames[answer["at"], 0].clamp(0, 1)
    with torch.no_grad():
        p = explorer.model(shown).softmax(1)
    assert answer["named"] == p.argmax(1).tolist()
    assert answer["sure"] == pytest.approx(p.amax(1).tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"decay": True}, {"decay": 0.01}),
        ({"blur": True}, {"blur": 1.0, "blur_every": 2}),
        ({"clip": True}, {"clip_norm": 0.3, "clip_contribution": 0.2}),
        ({"jitter": True}, {"jitter": 2, "scale": 0.05, "rotation": 5.0}),
        ({"fourier": True}, {"space": "fourier", "colours": "decorrelated"}),
    ],
)
def test_each_switch_is_an_option_of_the_library(explorer, pictures, changes, options):
    if changes == {"jitter": True}:
        options = options | {"jitter": max(1, explorer.size[0] // 16)}
    explorer.set_state(changes)
    explorer.wait_idle()
    wanted = visualize_result(explorer.model, 1, start=pictures[:1], steps=12, **{**PLAIN, **options})
    assert close(explorer.frames[-1:], wanted.images)


def test_a_channel_may_be_asked_for(explorer, pictures):
    explorer.set_state({"layer": "conv", "channel": 3, "picture": 1})
    explorer.wait_idle()
    wanted = visualize_result(explorer.model, unit("conv", 3), start=pictures[1:2], steps=12, **PLAIN)
    assert close(explorer.frames[-1:], wanted.images)


def test_a_stopped_ascent_goes_on_where_it_was(explorer, pictures):
    whole = visualize_result(explorer.model, 2, start=pictures[:1], steps=12, **PLAIN)
    told, seen = explorer._told, []

    def stop_at_the_first(key, run, complete):
        seen.append(complete)
        if len(seen) == 1:
            explorer._worker.stop()
        return told(key, run, complete)

    explorer._told = stop_at_the_first
    explorer.set_state({"target": 2})
    explorer.wait_idle()
    assert not explorer.answer["complete"]
    assert explorer.answer["at"][-1] == 4
    assert explorer.status == "stopped"
    explorer.set_state({"resume": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    assert close(explorer.frames[-1:], whole.images)
    assert explorer.status == "ready"
    count = len(seen)
    explorer.set_state({"resume": 2})  # nothing is left to do
    explorer.wait_idle()
    assert len(seen) == count


def test_a_run_that_a_newly_opened_page_cut_short_goes_on_to_its_end(explorer):
    """The page asks again when it opens; what was half climbed by then must not pass for the answer."""
    key, parts = explorer._key({"target": 2}), []
    with pytest.raises(Stopped):
        explorer._answer(key, lambda: len(parts) > 0, parts.append)
    explorer.set_state({"target": 2, "watched": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    assert explorer.answer["at"] == [0, 4, 8, 12]


def test_a_run_that_the_hand_stopped_waits_for_it(explorer):
    told = explorer._told

    def stop_at_the_first(*given):
        explorer.cancel = True
        return told(*given)

    explorer._told = stop_at_the_first
    explorer.set_state({"target": 2})
    explorer.wait_idle()
    explorer._told = told
    explorer.set_state({"watched": 1})  # a page is opened
    explorer.wait_idle()
    assert explorer.answer["at"] == [0, 4]
    explorer.set_state({"resume": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]


def test_begun_anew_it_climbs_again(explorer):
    before, told, seen = explorer.frames.clone(), explorer._told, []
    explorer._told = lambda *given: seen.append(given) or told(*given)
    explorer.set_state({"anew": 1})
    explorer.wait_idle()
    assert len(seen) == 3
    assert torch.equal(explorer.frames, before)


def test_a_known_ascent_is_not_climbed_again(explorer):
    calls = explorer.model.calls
    explorer.set_state({"frame": 2})
    explorer.wait_idle()
    assert explorer.model.calls == calls


def test_noise_and_grey_are_the_starts_of_a_model_that_knows_its_side(tiny):
    tiny.input_size = 16
    widget = AscentExplorer(tiny, steps=2, layers=["conv"])
    widget.wait_idle()
    assert [caption["name"] for caption in widget.captions] == ["noise", "grey"]
    assert torch.equal(widget.images[1], torch.full((3, 16, 16), 0.5))
    assert (
        repr(widget) == f"AscentExplorer(model={type(tiny).__name__}, pictures=2, layers=['conv'], steps=2)"
    )


def test_what_does_not_exist_is_refused(explorer, tiny, pictures):
    for trait, value, error, sentence in (
        ("layer", "convs", KeyError, "The nearest: 'conv'"), ("frame", -2, IndexError, "frame must be"),
        ("channel", -1, IndexError, "channel must be from 0"), ("target", 99, IndexError, "class index"),
        ("picture", 9, IndexError, "picture must be"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            setattr(explorer, trait, value)
    explorer.layer = "conv"
    with pytest.raises(IndexError, match="channel must be from 0 to"):
        explorer.channel = 99
    with pytest.raises(ValueError, match="steps must be"):
        AscentExplorer(tiny, pictures, steps=0)
    with pytest.raises(KeyError, match="nearest"):
        AscentExplorer(tiny, pictures, layers=["convv"])
    with pytest.raises(ValueError, match="settings must be one of"):
        explorer.precompute(settings=[{"blurr": True}])
