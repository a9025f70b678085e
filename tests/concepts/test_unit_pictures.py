"""Top pictures against plain search; folders; units that are dead, shares that leave nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.concepts import dissect, dissect_result, top_pictures, top_pictures_result
from labkit.concepts.thresholds import thresholds_of, unit_thresholds
from labkit.data.photos import save_photo

PHOTOS = os.environ.get("LABKIT_PHOTOS", "")


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU()).eval()


def pictures(n: int = 9) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_they_are_those_of_plain_search() -> None:
    model, images = net(), pictures()
    found = top_pictures_result(model, images, "1", count=3, quantile=0.05, batch_size=4)
    with torch.no_grad():
        maps = model(images)
    thresholds = unit_thresholds(model, images, layer="1", quantile=0.05)
    assert torch.equal(found.thresholds, thresholds)
    large = F.interpolate(maps, size=(16, 16), mode="bilinear") > thresholds.view(1, -1, 1, 1)
    for unit in range(5):
        order = maps[:, unit].amax((1, 2)).argsort(descending=True)[:3]
        there = maps[order, unit].amax((1, 2)) > thresholds[unit]
        assert found.pictures[unit].tolist() == torch.where(there, order, -1).tolist()
        assert torch.equal(found.masks[unit], large[order, unit] & there.view(-1, 1, 1))
    shown = top_pictures(model, images, "1", units=[3], count=2, quantile=0.05)
    first = found.pictures[3, 0]
    lit = found.masks[3, 0]
    assert torch.allclose(shown[0, 0][:, lit], images[first][:, lit])
    assert torch.allclose(shown[0, 0][:, ~lit], 0.25 * images[first][:, ~lit])


def test_a_folder_is_read_and_its_files_are_named(tmp_path) -> None:
    images = pictures(4)
    for k, image in enumerate(images):
        save_photo(image, tmp_path / f"photo_{k}.png")
    found = top_pictures_result(net(), tmp_path, "1", count=2, quantile=0.1, side=16)
    assert found.names == tuple(f"photo_{k}" for k in range(4))
    rounded = (images * 255 + 0.5).byte()
    same = top_pictures_result(net(), rounded, "1", count=2, quantile=0.1)
    assert torch.equal(found.pictures, same.pictures)
    assert top_pictures(net(), str(tmp_path), "1", count=2, quantile=0.1, side=16).shape == (5, 2, 3, 16, 16)


def test_a_dead_unit_and_few_pictures_leave_grey_ones() -> None:
    model = net()
    nn.init.zeros_(model[0].weight[1])
    with torch.no_grad():
        model[0].bias[1] = -1
    found = top_pictures_result(model, pictures(2), "1", count=4, quantile=0.1)
    assert found.pictures[1].tolist() == [-1] * 4
    assert found.thresholds[1] == torch.inf
    assert (found.pictures[:, 2:] == -1).all()
    shown = top_pictures(model, pictures(2), "1", count=4, quantile=0.1)
    assert (shown[1] == 0.5).all()


@pytest.mark.parametrize(
    ("count", "quantile", "said"),
    [
        (
            3,
            0.005,
            r"quantile=0.005 .* the 192 places in '1', over 3 pictures, .* quantile=0.0053 leaves one",
        ),
        (1, 0.01, r"the 64 places in '1', over 1 picture, .* quantile=0.016 leaves one; more pictures"),
    ],
)
def test_a_share_of_less_than_one_place_is_told_where_it_was_asked_for(count, quantile, said) -> None:
    given = {"layer": "1", "quantile": quantile}
    maps = {"maps": {"all": np.ones((count, 16, 16), np.uint8)}, "names": {"all": ("everything",)}}
    for ask in (
        lambda: top_pictures(net(), pictures(count), **given),
        lambda: top_pictures_result(net(), pictures(count), **given),
        lambda: dissect(net(), pictures(count), **given, **maps),
        lambda: dissect_result(net(), pictures(count), **given, **maps),
        lambda: thresholds_of(net()(pictures(count)), [quantile]),
    ):
        with pytest.warns(UserWarning, match=said.replace(" in '1'", ".*")) as told:
            ask()
        assert len(told) == 1
        assert told[0].filename == __file__
    found = top_pictures_result(net(), pictures(3), "1", quantile=0.0053)
    assert (found.pictures[:, 0] >= 0).all()


def test_a_share_of_one_place_is_not_to_be_had() -> None:
    with pytest.warns(UserWarning, match="than one. More pictures or an earlier layer"):
        thresholds_of(torch.ones(1, 2, 1, 1), [0.5])


def test_a_rotation_turns_the_units_first() -> None:
    order = torch.tensor([2, 0, 1, 4, 3])
    plain = top_pictures_result(net(), pictures(), "1", quantile=0.1)
    turned = top_pictures_result(net(), pictures(), "1", quantile=0.1, rotation=torch.eye(5)[order])
    assert torch.equal(turned.pictures, plain.pictures[order])
    assert torch.equal(turned.masks, plain.masks[order])


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"units": [7]}, IndexError, "units must be from 0 to .; got 7. There are . units"),
        ({"count": 0}, ValueError, "count must"),
        ({"quantile": 1.5}, ValueError, "quantile must"),
        ({"layer": "5"}, KeyError, "nearest"),
        ({"pictures": "/nowhere/at/all"}, FileNotFoundError, "there is no picture in"),
    ],
)
def test_what_cannot_be_is_told(options, error, sentence) -> None:
    given = {"pictures": pictures(), "layer": "1", **options}
    with pytest.raises(error, match=sentence):
        top_pictures(net(), **given)


def test_a_network_of_the_zoo_on_photographs() -> None:
    from labkit.models import load_model

    kept = Path(torch.hub.get_dir()) / "checkpoints"
    if not list(kept.glob("squeezenet1_1-*.pth")) or not PHOTOS or not Path(PHOTOS).is_dir():
        pytest.skip("set TORCH_HOME and LABKIT_PHOTOS to folders with the weights and with photographs")
    found = top_pictures_result(load_model("squeezenet1_1"), PHOTOS, "features.12", units=[0, 1, 2], count=4)
    assert found.masks.shape == (3, 4, 224, 224)
    assert np.isfinite(found.values.numpy()).all()
