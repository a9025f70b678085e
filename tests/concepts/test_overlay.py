"""Similarity overlays: a cosine, one place against all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.concepts.overlay import place_at, similarity_map


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_it_is_the_cosine_with_every_place_and_nothing_gives_zero() -> None:
    model, images = net(), torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        maps = model[:2](images)
    maps_zero = (maps == 0).all(1)
    found = similarity_map(model, images, layer="1", picture=2, place=(1, 3))
    expected = F.cosine_similarity(maps, maps[2, :, 1, 3].view(1, 5, 1, 1).expand_as(maps), dim=1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not found[maps_zero].any()
    large = similarity_map(model, images, layer="1", picture=2, place=(1, 3), upsample="nearest")
    assert torch.equal(large[:, ::2, ::2], found)
    assert similarity_map(model, images, layer="1", picture=0, place=(0, 0), upsample="bilinear").shape == (
        3,
        8,
        8,
    )


def test_a_pixel_lies_over_its_place() -> None:
    assert [place_at(x, 7, (8, 16), (4, 4)) for x in (0, 3.9, 4, 15)] == [(3, 0), (3, 0), (3, 1), (3, 3)]


@pytest.mark.parametrize(
    ("error", "call", "sentence"),
    [
        (IndexError, {"picture": 3}, "picture"),
        (IndexError, {"place": (4, 0)}, "row"),
        (IndexError, {"place": (0, 4)}, "column"),
        (KeyError, {"layer": "conv9"}, "conv9"),
        (ValueError, {"layer": "3"}, "feature map|space|must give"),
        (ValueError, {"upsample": "cubic"}, "upsample"),
    ],
)
def test_what_is_not_there_is_told(error: type[Exception], call: dict, sentence: str) -> None:
    given = {"layer": "1", "picture": 0, "place": (0, 0)}
    with pytest.raises(error, match=sentence):
        similarity_map(net(), torch.rand(3, 3, 8, 8), **{**given, **call})


def test_a_pixel_outside_is_told() -> None:
    with pytest.raises(ValueError, match="must lie in the picture of 16 x 8 pixels"):
        place_at(16, 0, (8, 16), (4, 4))
