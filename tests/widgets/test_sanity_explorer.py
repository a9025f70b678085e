"""The sanity explorer's traits, with `set_state` in the browser's place, against the library's cascade."""

import pytest
import torch

from labkit.attribution import grad_cam, saliency
from labkit.evaluation import cascading_randomization
from labkit.widgets import SanityExplorer

NAMES = ["saliency", "grad_cam"]


@pytest.fixture
def resettable(tiny):
    """Two layers of its own with weights: the head runs last."""
    return tiny


@pytest.fixture
def explorer(resettable, pictures):
    widget = SanityExplorer(resettable, pictures, methods=NAMES, labels=[1, "a wolf", 0])
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


@pytest.mark.parametrize("target", [-1, 2])
def test_maps_and_likeness_are_the_library_s_cascade(explorer, pictures, target):
    explorer.set_state({"picture": 1, "target": target})
    explorer.wait_idle()
    asked = int(explorer.model(pictures[1:2]).argmax()) if target < 0 else target
    methods = {"saliency": saliency, "grad_cam": grad_cam}
    cascade = cascading_randomization(explorer.model, pictures, torch.full((3,), asked), methods)
    assert explorer.layers == cascade.layers == ["head", "conv"]
    for depth in range(3):
        explorer.set_state({"depth": depth})
        explorer.wait_idle()
        for name in NAMES:
            assert explorer._cache.get(explorer._key())["maps"][name]["signed"] is False  # neither is below 0
            assert torch.allclose(explorer.maps[name], cascade.maps[name][depth, 1], atol=1e-6)
    for name in NAMES:
        for kind, measure in (
            ("rank", cascade.rank_abs),
            ("rank_signed", cascade.rank),
            ("ssim", cascade.ssim),
        ):
            expected = [None if v.isnan() else float(v) for v in measure[name][:, 1]]
            assert explorer.likeness[name][kind] == pytest.approx(expected, abs=1e-5)


def test_the_model_is_left_as_it_was(explorer, resettable):
    before = {k: v.clone() for k, v in resettable.state_dict().items()}
    explorer.precompute(pictures=[0, 1, 2])
    assert all(torch.equal(v, before[k]) for k, v in resettable.state_dict().items())


def test_each_depth_is_worked_out_once(explorer):
    calls = explorer.model.calls
    for depth in (2, 1, 0):
        explorer.set_state({"depth": depth})
        explorer.wait_idle()
    assert explorer.model.calls == calls


def test_a_method_that_raises_has_its_sentence_and_the_others_go_on(resettable, pictures):
    def broken(model, images, target):
        raise ValueError("model must have wings; this one has none.")

    widget = SanityExplorer(resettable, pictures, methods={"broken": broken, "saliency": saliency})
    widget.wait_idle()
    assert list(widget.maps) == ["saliency"]
    assert "must have wings" in widget._cache.get(widget._key())["maps"]["broken"]["text"]
    assert widget.likeness["broken"]["rank"] == [None, None]


def test_a_map_that_is_not_one_has_a_sentence(resettable, pictures):
    widget = SanityExplorer(
        resettable, pictures, methods={"flat": lambda model, images, target: images.mean()}
    )
    widget.wait_idle()
    text = widget._cache.get(widget._key())["maps"]["flat"]["text"]
    assert text == "ValueError: flat must return a tensor of maps (N, H, W), here (1, 32, 32); got ()."


def test_an_exported_page_that_leaves_answers_out_keeps_the_trained_map(explorer):
    explorer.precompute(pictures=[0, 1])
    saved = [(a["picture"], a["depth"]) for a in explorer._saved() if a["kind"] == "depth"]
    assert set(saved) == {(p, d) for p in (0, 1) for d in range(3)}
    for picture in (0, 1):
        own = [depth for p, depth in saved if p == picture]
        assert own.index(0) == 1  # right after the depth last used


def test_bad_depths_methods_and_models_get_a_sentence(explorer, pictures):
    with pytest.raises(IndexError, match="depth must be from 0 to 2, the number of layers; got 3"):
        explorer.depth = 3
    with pytest.raises(ValueError, match="methods must be names"):
        SanityExplorer(explorer.model, pictures, methods=["salience"])
    bare = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    with pytest.raises(ValueError, match="model must have layers with weights"):
        SanityExplorer(bare, pictures)
