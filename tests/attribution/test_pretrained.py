"""The same identities on a real pretrained network and real photographs, where they are at hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from labkit.attribution import (
    METHODS,
    cam,
    grad_cam,
    integrated_gradients_result,
    meaningful_perturbation_result,
    occlusion_result,
    saliency,
    smooth_grad_result,
)
from labkit.data import sample_photos
from labkit.models import load_model

NAME = "squeezenet1_1"
LARGER = {"lime": {"samples": 80}, "kernel_shap": {"samples": 140}}  # more superpixels at 224 px


@pytest.fixture(scope="module")
def model() -> nn.Module:
    kept = Path(torch.hub.get_dir()) / "checkpoints"
    if not list(kept.glob(f"{NAME}-*.pth")):
        pytest.skip(f"the weights of {NAME} are not in torch's cache; set TORCH_HOME to a folder with them")
    return load_model(NAME)


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.stack([photo.image for photo in sample_photos(224)[:3]])


def test_cam_averages_to_the_logit_and_is_grad_cam(model: nn.Module, photos: Tensor) -> None:
    with torch.no_grad():
        logits = model(photos)
    top = logits.argmax(1)
    maps = cam(model, photos, top, upsample=False)
    assert maps.shape[1:] == (13, 13)
    assert torch.allclose(maps.mean((1, 2)), logits.amax(1), rtol=1e-5)
    graded = grad_cam(model, photos, top, upsample=False)
    assert (maps.relu() - 169 * graded).abs().max() <= 1e-5 * maps.max()


def test_maps_depend_on_the_class_asked_for(model: nn.Module, photos: Tensor) -> None:
    with torch.no_grad():
        order = model(photos).argsort(1, descending=True)
    for method in (saliency, cam):
        first, second = (method(model, photos, order[:, i].clone()).flatten(1) for i in (0, 1))
        assert (first - second).abs().amax(1).gt(1e-3 * first.amax(1)).all()


def test_hiding_everything_costs_more_than_hiding_a_corner(model: nn.Module, photos: Tensor) -> None:
    with torch.no_grad():
        top = model(photos).argmax(1)
    result = occlusion_result(model, photos, top, window=112, stride=112)
    with torch.no_grad():
        whole = model(photos).amax(1) - model(torch.full_like(photos, 0.5)).gather(1, top[:, None])[:, 0]
    assert result.drops.shape == (3, 2, 2)
    assert (result.drops.flatten(1).mean(1) < whole).all()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "occlusion"])
def test_a_batch_equals_its_photographs(name: str, model: nn.Module, photos: Tensor) -> None:
    """In float64: over many passes float32 adds up to 2e-4 of the maximum between two sizes of batch."""
    function, options = METHODS[name].function, {**METHODS[name].options, **LARGER.get(name, {})}
    exact, pictures = copy.deepcopy(model).double(), photos[:2].double()
    together = function(exact, pictures, 1, **options)
    alone = torch.cat([function(exact, picture[None], 1, **options) for picture in pictures])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))


def test_defaults_ask_what_the_network_can_answer(model: nn.Module, photos: Tensor) -> None:
    """Noise that leaves the class, a mask that is not empty, a path whose gap is closed."""
    parts = photos[:2, :, 48:176, 48:176]
    with torch.no_grad():
        chance, top = model(parts).softmax(1).max(1)
    smooth = smooth_grad_result(model, parts, top, samples=4)
    assert (smooth.left >= smooth.whole / 2).all()
    assert torch.allclose(smooth.whole, chance, atol=1e-5)
    assert integrated_gradients_result(model, parts[:1], top[:1]).met.all()
    done = meaningful_perturbation_result(model, parts[:1], top[:1], steps=25)
    assert done.map.max() > 0.3
    assert done.reward < 0.8 * done.whole
