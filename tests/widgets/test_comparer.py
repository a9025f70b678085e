"""The comparer's traits, with `set_state` in the browser's place, against the library's own functions."""

import functools
import threading
import time

import numpy as np
import pytest
import torch

from labkit import attribution
from labkit.evaluation import area_share, energy_inside, pointing_hits
from labkit.widgets import Comparer

NAMES = ["saliency", "gradient_x_input", "occlusion", "grad_cam"]


@pytest.fixture
def masks():
    truth = torch.zeros(3, 32, 32, dtype=torch.bool)
    truth[0, 8:20, 10:22] = True
    truth[1, 2:9, 3:30] = True
    return truth  # the third picture has none


@pytest.fixture
def comparer(tiny, pictures, masks):
    widget = Comparer(tiny, pictures, methods=NAMES, labels=[1, "a wolf", 0], masks=masks)
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def record_deliveries(widget):
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "delivery")
    return seen


def values(answer):
    return np.frombuffer(answer["data"], np.float32).reshape(32, 32)


@pytest.mark.parametrize("picture", [0, 2])
@pytest.mark.parametrize("target", [0, 3])
def test_the_maps_are_the_library_s(comparer, pictures, picture, target):
    comparer.set_state({"picture": picture, "target": target})
    comparer.wait_idle()
    assert list(comparer.maps) == NAMES
    for name, found in comparer.maps.items():
        expected = getattr(attribution, name)(comparer.model, pictures[picture][None], target)[0]
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_minus_one_is_the_class_the_network_names(comparer, pictures):
    likeliest = int(comparer.model(pictures[:1]).argmax())
    assert {a["target"] for k, a in comparer._cache.latest() if k[0] == "map"} == {likeliest}
    assert comparer.photo["top"][0] == likeliest
    logits = comparer.model(pictures[:1])[0].detach()
    assert comparer.photo["logits"] == pytest.approx(logits.tolist())
    assert comparer.photo["total"] == pytest.approx(float(logits.logsumexp(0)))


def test_scores_are_the_library_s_measures_against_the_planted_truth(comparer, masks):
    for name, scores in comparer.scores.items():
        found = comparer.maps[name][None]
        assert scores["energy"] == pytest.approx(float(energy_inside(found, masks[:1])[0]))
        assert scores["area"] == pytest.approx(float(area_share(masks[:1])[0]))
        assert scores["hit"] == bool(pointing_hits(found, masks[:1])[0][0])
        assert scores["seconds"] > 0


def test_a_picture_without_truth_has_no_scores(comparer):
    comparer.set_state({"picture": 2})
    comparer.wait_idle()
    assert all((s["energy"], s["area"], s["hit"]) == (None, None, None) for s in comparer.scores.values())


def test_nothing_positive_is_none_for_the_page_knows_no_nan(tiny, pictures, masks):
    def negative(model, images, target):
        return -torch.ones(1, 32, 32)

    widget = Comparer(tiny, pictures, methods={"negative": negative}, masks=masks)
    widget.wait_idle()
    assert widget.scores["negative"]["energy"] is None
    assert widget.scores["negative"]["hit"] is False
    assert widget.delivery["peak"] == []  # a flat map has none
    widget.to_html()


def test_each_map_is_sent_when_it_is_ready_those_of_one_pass_first(tiny, pictures):
    widget = Comparer(tiny, pictures, methods=["occlusion", "saliency", "grad_cam"], chosen=[])
    seen = record_deliveries(widget)
    widget.set_state({"chosen": ["occlusion", "saliency", "grad_cam"]})
    widget.wait_idle()
    assert [a["method"] for a in seen][:3] == ["saliency", "grad_cam", "occlusion"]


def test_once_timed_the_quicker_comes_first(tiny, pictures):
    def slow(model, images, target):
        time.sleep(0.03)  # stands for work
        return torch.ones(1, 32, 32)

    def quick(model, images, target):
        return torch.ones(1, 32, 32)

    widget = Comparer(tiny, pictures, methods={"slow": slow, "quick": quick})
    widget.wait_idle()
    seen = record_deliveries(widget)
    widget.set_state({"picture": 1})
    widget.wait_idle()
    assert [a["method"] for a in seen][:2] == ["quick", "slow"]


def test_what_is_known_is_not_computed_again(comparer):
    comparer.set_state({"picture": 1})
    comparer.wait_idle()
    calls = comparer.model.calls
    for picture in (0, 1, 0):
        comparer.set_state({"picture": picture})
        comparer.wait_idle()
    assert comparer.model.calls == calls


def test_a_page_opened_anew_is_sent_everything_on_view_and_all_photos(comparer):
    comparer.set_state({"watched": 1})
    comparer.wait_idle()
    seen, photos = record_deliveries(comparer), []
    comparer.observe(lambda change: photos.append(change["new"]["picture"]), "photo")
    comparer.set_state({"watched": 2})
    comparer.wait_idle()
    assert {a["method"] for a in seen} == set(NAMES)
    assert set(photos) == {0, 1, 2}


def test_a_method_that_raises_shows_its_sentence_and_the_others_go_on(pictures):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5)).eval()
    widget = Comparer(net, pictures, methods=["cam", "saliency"])
    widget.wait_idle()
    fault = widget._cache.get(widget._key("cam"))
    with pytest.raises(ValueError) as caught:
        attribution.cam(net, pictures[:1], widget.photo["top"][0])
    assert fault["kind"] == "fault"
    assert fault["text"] == str(caught.value)
    assert list(widget.maps) == ["saliency"]
    assert (widget.status, widget.error) == ("ready", "")


def test_an_error_of_the_student_s_function_names_its_line(tiny, pictures):
    def mine(model, images, target):
        return images[:, 7]  # there is no such channel

    widget = Comparer(tiny, pictures, methods={"mine": mine, "saliency": attribution.saliency})
    widget.wait_idle()
    text = widget._cache.get(widget._key("mine"))["text"]
    assert text.startswith("IndexError")
    assert "return images[:, 7]" in text
    assert list(widget.maps) == ["saliency"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (torch.zeros(4, 4), r"mine must return a tensor of maps (N, H, W), here (1, 32, 32); got (4, 4)"),
        (None, "got NoneType"),
        (torch.full((1, 32, 32), float("nan")), "mine must return finite maps"),
    ],
)
def test_maps_of_the_wrong_kind_are_named(tiny, pictures, result, message):
    widget = Comparer(tiny, pictures, methods={"mine": lambda model, images, target: result})
    widget.wait_idle()
    assert message in widget._cache.get(widget._key("mine"))["text"]


def test_a_function_may_ask_for_gradients_and_write_into_its_picture(tiny, pictures):
    def mine(model, images, target):
        images.requires_grad_()
        model(images)[0, target].backward()
        with torch.no_grad():
            images.zero_()
        return images.grad.abs().amax(1)

    before = pictures.clone()
    smooth = functools.partial(attribution.smooth_grad, samples=2)
    widget = Comparer(tiny, pictures, methods={"mine": mine, "smooth": smooth})
    widget.wait_idle()
    assert list(widget.maps) == ["mine", "smooth"]
    torch.testing.assert_close(
        widget.maps["mine"], attribution.saliency(tiny, before[:1], widget.photo["top"][0])[0]
    )
    assert torch.equal(widget.image, before[:1])


def endless(began):
    def wait(model, images, target):
        began.set()
        for _ in range(12_000):
            time.sleep(0.005)  # stands for the work between two calls of the network
            model(images)
        return torch.zeros(1, 32, 32)

    return wait


def test_cancel_interrupts_a_function_at_its_next_forward_pass(tiny, pictures):
    began = threading.Event()
    widget = Comparer(tiny, pictures, methods={"wait": endless(began)})
    assert began.wait(10)
    widget.set_state({"cancel": True})
    widget.wait_idle(0.1)
    assert (widget.status, widget.error, widget.maps) == ("stopped", "", {})
    assert not tiny._forward_pre_hooks


def test_a_newer_choice_interrupts_and_wins(tiny, pictures):
    began = threading.Event()
    functions = {"wait": endless(began), "saliency": attribution.saliency}
    widget = Comparer(tiny, pictures, methods=functions, chosen=["wait"])
    assert began.wait(10)
    widget.set_state({"chosen": ["saliency"], "picture": 2})
    widget.wait_idle(5)
    assert list(widget.maps) == ["saliency"]
    assert widget.delivery["picture"] == 2


def test_a_burst_of_forty_choices_computes_few(tiny, pictures):
    calls = []

    def mine(model, images, target):
        calls.append(target)
        for _ in range(10):
            time.sleep(0.005)  # stands for the work between two calls of the network
            model(images)
        return torch.full((1, 32, 32), float(target))

    widget = Comparer(tiny, pictures, methods={"mine": mine})
    widget.wait_idle()
    calls.clear()
    for i in range(40):
        widget.set_state({"target": i % 4, "picture": 1 + i % 2})
    widget.wait_idle()
    assert 1 <= len(calls) <= 15
    assert float(widget.maps["mine"][0, 0]) == 39 % 4


def test_all_methods_are_offered_and_a_handful_is_chosen(tiny, pictures):
    widget = Comparer(tiny, pictures)
    assert [m["name"] for m in widget.methods] == list(attribution.METHODS)
    assert 4 <= len(widget.chosen) <= 6
    widget.cancel = True
    widget.wait_idle()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": ["saliencey"]}, ValueError, "got 'saliencey'. The nearest names are 'saliency'"),
        ({"methods": []}, ValueError, "at least one method"),
        ({"methods": {"mine": torch.zeros(1)}}, TypeError, "must be a function .*got Tensor"),
        ({"masks": torch.zeros(2, 32, 32)}, ValueError, r"shape \(3, 32, 32\); got \(2, 32, 32\)"),
        ({"picture": 9}, IndexError, "picture must be from 0 to 2; got 9"),
        ({"labels": [9, 0, 0]}, IndexError, "labels must be a class index from 0 to 3; got 9"),
    ],
)
def test_illegal_arguments_are_refused_in_words(tiny, pictures, arguments, error, message):
    with pytest.raises(error, match=message):
        Comparer(tiny, pictures, **({"methods": ["saliency"]} | arguments))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("chosen", ["salient"], "got 'salient'. The nearest: 'saliency'"),
        ("target", 4, "from 0 to 3; got 4"),
        ("pixel", [32, 0], "x below 32 and y below 32; got"),
        ("pixel", [1], "or .x, y."),
    ],
)
def test_illegal_settings_are_refused_in_words(comparer, name, value, message):
    before = getattr(comparer, name)
    with pytest.raises((ValueError, IndexError), match=message):
        setattr(comparer, name, value)
    assert getattr(comparer, name) == before


def test_a_photograph_of_one_s_own_is_compared_without_truth(comparer):
    rgb = np.arange(32 * 32 * 3, dtype=np.uint8)
    comparer.set_state({"pixel": [3, 4]})
    comparer.set_state({"upload": {"name": "mine", "width": 32, "height": 32, "data": rgb.tobytes()}})
    comparer.wait_idle()
    assert (comparer.picture, comparer.pixel, comparer.captions[3]["name"]) == (3, [], "mine")
    assert list(comparer.maps) == NAMES
    assert comparer.scores["saliency"]["area"] is None


def test_precompute_makes_the_exported_page_know_it(comparer):
    comparer.precompute(pictures=[0, 1], targets=[-1, 2], methods=["saliency", "grad_cam"])
    known = {(a["picture"], a["method"], a["target"]) for a in comparer._saved() if a["kind"] == "map"}
    for picture in (0, 1):
        for target in (int(comparer.model(comparer.images[picture][None]).argmax()), 2):
            assert {(picture, "saliency", target), (picture, "grad_cam", target)} <= known
    with pytest.warns(UserWarning, match="The page holds 0 of the 12 answers"):
        small = comparer.to_html(limit_mb=0.1)
    assert len(small) < len(comparer.to_html())


def test_repr_is_the_same_every_time(comparer):
    assert repr(comparer) == f"Comparer(model=Tiny, pictures=3, methods={NAMES})"
