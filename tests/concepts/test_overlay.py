"""Similarity overlays: a cosine, one place against all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.concepts.overlay import (
    cosine_error,
    cosines_of_codes,
    place_at,
    similarity_codes,
    similarity_map,
)


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
        (IndexError, {"picture": 3}, "picture must be from 0 to 2; got 3. There are 3 pictures."),
        (IndexError, {"place": (4, 0)}, "got 4. There are 4 rows in the grid of layer '1'"),
        (IndexError, {"place": (0, 4)}, "got 4. There are 4 columns in the grid of layer '1'"),
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


# ---- bytes whose cosines are nearly those of the features


def test_the_cosines_of_the_bytes_are_nearly_those_of_the_features_and_the_error_is_measured() -> None:
    maps = torch.rand(3, 24, 5, 5, generator=torch.Generator().manual_seed(4)) - 0.3
    maps[1, :, 2, 2] = 0
    codes = similarity_codes(maps)
    assert (codes.basis, codes.values.dtype, codes.values.shape) == (None, torch.int8, (3, 5, 5, 24))
    unit = F.normalize(maps, dim=1)
    worst = 0.0
    for picture in range(3):
        for row in range(5):
            for column in range(5):
                exact = torch.einsum("nkhw,k->nhw", unit, unit[picture, :, row, column])
                sent = cosines_of_codes(codes.values, picture, (row, column))
                worst = max(worst, float((exact - sent).abs().max()))
    assert cosine_error(maps, codes.values) == pytest.approx(worst, abs=1e-5)
    assert worst < 0.02
    assert not cosines_of_codes(codes.values, 1, (2, 2)).any()
    assert not cosines_of_codes(codes.values, 0, (0, 0))[1, 2, 2]


def test_a_projection_that_loses_nothing_keeps_the_cosines_and_serves_later_pictures() -> None:
    generator = torch.Generator().manual_seed(5)
    frame = torch.linalg.qr(torch.randn(20, 3, generator=generator))[0]
    maps, later = (
        torch.einsum("kc,nchw->nkhw", frame, torch.rand(2, 3, 4, 4, generator=generator)) for _ in range(2)
    )
    codes = similarity_codes(maps, 3)
    assert codes.values.shape == (2, 4, 4, 3)
    assert cosine_error(maps, codes.values) < 0.02
    more = similarity_codes(later, basis=codes.basis)
    assert cosine_error(torch.cat([maps, later]), torch.cat([codes.values, more.values])) < 0.02
    assert cosine_error(maps, similarity_codes(maps, 1).values) > 0.05


def test_bad_sizes_and_maps_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="size must be"):
        similarity_codes(torch.rand(1, 2, 3, 3), 0)
    with pytest.raises(ValueError, match="layer must give a feature map"):
        similarity_codes(torch.rand(2, 3))


def test_a_place_is_a_row_and_a_column() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    given = {"layer": "0", "picture": 0}
    with pytest.raises(TypeError, match="row must be a whole number; got 1.5"):
        similarity_map(net, torch.rand(1, 3, 4, 4), place=(1.5, 1), **given)
    for wrong in (1, (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"place must be \(row, column\) of the layer's map"):
            similarity_map(net, torch.rand(1, 3, 4, 4), place=wrong, **given)
