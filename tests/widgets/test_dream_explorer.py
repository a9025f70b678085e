"""The dream explorer's traits, with `set_state` in the browser's place, against the library's functions."""

import pytest
import torch

from labkit.models import direction, record, unit
from labkit.style import deepdream_result, gram_texture_result, invert_result
from labkit.widgets import DreamExplorer
from labkit.widgets.kit.dreams import amplified, as_noisy, correlation, gram_distance, shuffled
from labkit.widgets.kit.worker import Stopped

DREAM = {"octaves": 2, "steps": 4, "rate": 0.02}
STEPS = {"steps": 6}
VECTOR = [1.0, 0.0, -1.0, 0.0, 0.5, 0.0]


@pytest.fixture
def explorer(tiny, pictures):
    widget = DreamExplorer(
        tiny, pictures, layers=["conv"], dream=DREAM, inversion=STEPS, texture=STEPS, judge=tiny,
        judge_layers=["conv"], directions={"striped": direction("conv", VECTOR)}, crops=pictures.roll(1, 0),
    )  # fmt: skip
    widget.wait_idle()
    yield widget
    widget.close()


def close(a, b):
    return torch.allclose(a, b, atol=1 / 254)


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({}, "conv"),
        ({"goal": "channel", "channel": 3}, unit("conv", 3)),
        ({"goal": "class", "target": 2}, 2),
        ({"goal": "striped"}, direction("conv", VECTOR)),
    ],
)
def test_a_dream_is_the_library_s_beside_noise_of_equal_size(explorer, pictures, changes, goal):
    explorer.set_state({"picture": 1, **changes})
    explorer.wait_idle()
    wanted = deepdream_result(explorer.model, pictures[1:2], goal, **DREAM)
    answer = explorer.answer
    assert answer["complete"]
    assert answer["at"] == list(range(9))
    assert close(explorer.frames[-1:], wanted.images)
    assert close(explorer.frames[:1], pictures[1:2])
    made, noise = answer["lines"]
    assert made[-1] == pytest.approx(float(amplified(explorer.model, wanted.images, goal)[0]), rel=1e-4)
    noisy = as_noisy(pictures[1], wanted.images[0])[None]
    assert noise[-1] == pytest.approx(float(amplified(explorer.model, noisy, goal)[0]), rel=1e-3)
    assert made[-1] > max(made[0], noise[-1])


def test_a_frame_of_a_small_octave_is_what_stopping_there_gives(explorer, pictures):
    asked = iter([False, False, True])
    stopped = deepdream_result(
        explorer.model, pictures[:1], "conv", should_stop=lambda: next(asked, True), **DREAM
    )
    assert close(explorer.frames[2:3], stopped.images)


def test_an_inversion_is_the_library_s_beside_other_pictures(explorer, pictures):
    explorer.set_state({"mode": "inversion"})
    explorer.wait_idle()
    with torch.no_grad(), record(explorer.model, "conv") as kept:
        explorer.model(pictures[:1])
    wanted = invert_result(explorer.model, "conv", kept["conv"], side=32, **STEPS).images
    assert explorer.answer["at"] == [1, 2, 3, 4, 5, 6]
    assert close(explorer.frames[-1:], wanted)
    own, others = explorer.answer["lines"]
    assert own[-1] == pytest.approx(float(correlation(wanted[0], pictures[:1])[0]), abs=1e-5)
    assert others[-1] == pytest.approx(float(correlation(wanted[0], pictures[1:]).mean()), abs=1e-5)


def test_a_texture_is_the_library_s_beside_another_piece_and_shuffled_pixels(explorer, pictures):
    explorer.set_state({"mode": "texture"})
    explorer.wait_idle()
    wanted = gram_texture_result(explorer.model, pictures[:1], ["conv"], **STEPS).images
    assert close(explorer.frames[-1:], wanted)
    found = gram_distance(
        explorer.model, torch.stack([wanted[0], shuffled(pictures[0]), pictures[2]]), pictures[:1], ["conv"]
    )
    assert [values[-1] for values in explorer.answer["lines"]] == pytest.approx(found.tolist(), rel=1e-3)


def test_what_a_search_does_not_depend_on_makes_none_anew(explorer):
    calls = explorer.model.calls
    explorer.set_state({"frame": 2, "target": 3})
    explorer.set_state({"channel": 4})
    explorer.wait_idle()
    assert explorer.model.calls == calls


def test_a_stopped_search_goes_on_where_it_was(explorer, pictures):
    told, seen = explorer._answered, []

    def stop_at_the_third(key, search):
        seen.append(search.run.done)
        if len(seen) == 3:
            explorer.cancel = True
        return told(key, search)

    explorer._answered = stop_at_the_third
    explorer.set_state({"mode": "inversion"})
    explorer.wait_idle()
    assert explorer.status == "stopped"
    assert not explorer.answer["complete"]
    assert explorer.answer["at"] == [1, 2, 3]
    explorer.set_state({"watched": 1})  # a page is opened: the hand's stop is not undone
    explorer.wait_idle()
    assert explorer.answer["at"] == [1, 2, 3]
    explorer.set_state({"mode": "dream"})  # something else meanwhile
    explorer.wait_idle()
    explorer.set_state({"mode": "inversion", "resume": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    assert len(seen) == 7  # six frames and the end: none was made twice
    with torch.no_grad(), record(explorer.model, "conv") as kept:
        explorer.model(pictures[:1])
    assert close(
        explorer.frames[-1:], invert_result(explorer.model, "conv", kept["conv"], side=32, **STEPS).images
    )


def test_a_search_that_a_newly_opened_page_cut_short_goes_on_to_its_end(explorer):
    key, parts = explorer._key({"mode": "texture"}), []
    with pytest.raises(Stopped):
        explorer._answer(key, lambda: len(parts) > 0, parts.append)
    explorer.set_state({"mode": "texture", "watched": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    assert explorer.answer["at"] == [1, 2, 3, 4, 5, 6]


def test_begun_anew_it_searches_again(explorer):
    before, told, seen = explorer.frames.clone(), explorer._answered, []
    explorer._answered = lambda *given: seen.append(given) or told(*given)
    explorer.set_state({"anew": 1})
    explorer.wait_idle()
    assert len(seen) == 8  # as many as steps
    assert torch.equal(explorer.frames, before)


def test_begun_anew_while_it_waits_it_forgets_what_waited(explorer):
    key, parts = explorer._key({"mode": "inversion"}), []
    with pytest.raises(Stopped):
        explorer._answer(key, lambda: len(parts) > 1, parts.append)
    waiting = explorer._waiting[key].run
    explorer.set_state({"mode": "inversion", "anew": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    waiting._thread.join(10)
    assert not waiting._thread.is_alive()


def test_few_searches_wait_and_a_closed_explorer_keeps_none(explorer):
    runs = []
    for picture in range(3):
        for mode in ("inversion", "texture"):
            parts = []
            key = explorer._key({"picture": picture, "mode": mode})
            with pytest.raises(Stopped):
                explorer._answer(key, lambda parts=parts: len(parts) > 0, parts.append)
            runs.append(explorer._waiting[key].run)
    assert len(explorer._waiting) == 3
    explorer.close()
    for run in runs:
        run._thread.join(10)
        assert not run._thread.is_alive()


def test_two_threads_may_ask_at_once(explorer):
    """A page's request while Python computes: each gets its whole search."""
    import threading

    asked = threading.Thread(target=lambda: explorer.set_state({"mode": "inversion"}))
    asked.start()
    explorer.wait_idle()
    asked.join()
    explorer.set_state({"mode": "texture"})
    explorer.precompute([1, 2])
    explorer.wait_idle()
    assert explorer.answer["complete"]


def test_a_failing_search_is_said_and_the_next_one_works(explorer):
    explorer.options["texture"] = {"optimizer": "sgd"}
    explorer.set_state({"mode": "texture"})
    explorer.wait_idle()
    assert "optimizer must be one of" in explorer.error
    assert explorer.status == "error"
    explorer.set_state({"mode": "dream"})
    explorer.wait_idle()
    assert explorer.error == ""


def test_pages_hold_small_pictures_as_they_are_and_large_ones_as_jpeg(explorer, tiny):
    assert all(answer["data"] for answer in explorer._saved())
    large = DreamExplorer(tiny, torch.rand(1, 3, 112, 112), layers=["conv"], dream=DREAM)
    large.wait_idle()
    saved = large._saved()[-1]
    assert (saved["data"], len(saved["jpegs"])) == (b"", 9)
    assert saved["jpegs"][0][:2] == b"\xff\xd8"


def test_the_layers_are_found_and_the_middle_one_is_shown(tiny, pictures):
    widget = DreamExplorer(tiny, pictures, dream=DREAM)
    assert [layer["name"] for layer in widget.layers] == ["conv"]
    assert repr(widget) == "DreamExplorer(model=Tiny, pictures=3, layers=['conv'])"
    widget.close()


def test_what_does_not_exist_is_refused(explorer, tiny, pictures):
    for trait, value, error, sentence in (
        ("layer", "convs", KeyError, "The nearest: 'conv'"), ("frame", -2, IndexError, "frame must be"),
        ("channel", -1, IndexError, "channel must be from 0"), ("target", 99, IndexError, "class index"),
        ("mode", "dreams", ValueError, "mode must be one of"), ("goal", "x", ValueError, "goal must be one"),
        ("channel", 6, IndexError, "channel must be from 0 to 5"), ("picture", 9, IndexError, "picture must"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            setattr(explorer, trait, value)
    for given, error, sentence in (
        ({"layers": ["convv"]}, KeyError, "nearest"), ({"layers": []}, ValueError, "at least one layer"),
        ({"dream": {"step": 3}}, TypeError, "dream knows no option 'step'. The nearest: 'steps'"),
        ({"inversion": {"side": 8}}, TypeError, "inversion knows no option 'side'"),
        ({"directions": {"class": 1}}, ValueError, "directions must not be named"),
        ({"crops": torch.full((1, 3, 8, 8), 2.0)}, ValueError, "crops"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            DreamExplorer(tiny, pictures, **given)
    with pytest.raises(ValueError, match="settings must be one of"):
        explorer.precompute(settings=[{"layr": "conv"}])


def test_a_texture_needs_a_layer_with_maps(tiny, pictures):
    widget = DreamExplorer(tiny, pictures, layers=["head"], dream=DREAM)
    widget.set_state({"mode": "texture"})
    widget.wait_idle()
    assert "a texture needs layers that give maps" in widget.error
    widget.close()
