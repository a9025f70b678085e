"""Dissection against brute force; shards, rotations; what cannot be dissected."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.concepts import dissect, dissect_result
from labkit.concepts.dissection import unit_counts
from labkit.concepts.rotations import random_rotation, rotation_power
from labkit.concepts.thresholds import _codes, _values, unit_thresholds

NAMES = {"object": ("horse", "cow"), "part": ("leg", "tail", "head")}


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ).eval()


def world(n: int = 7):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)
    maps = {
        "object": draw.integers(0, 3, (n, 16, 16)).astype(np.uint8),
        "part": draw.integers(0, 4, (n, 16, 16)).astype(np.uint8),
    }
    maps["part"][2] = 0  # a picture in which no part is labelled
    return images, maps


def brute(model, images, maps, quantile, rotation=None):
    with torch.no_grad():
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        small = model[:2](pictures)
    if rotation is not None:
        small = torch.einsum("jk,bkhw->bjhw", rotation.float(), small)
    rounded = small.half().float()
    flat = rounded.movedim(1, 0).flatten(1)
    thresholds = torch.stack([
        min(v for v in row.unique() if (row > v).float().mean() <= quantile) for row in flat
    ])  # fmt: skip
    masks = F.interpolate(small, size=(16, 16), mode="bilinear") > thresholds.view(1, -1, 1, 1)
    rows = []
    for kind, values in maps.items():
        labels = torch.from_numpy(values)
        there = (labels > 0).flatten(1).any(1)
        for c in range(1, len(NAMES[kind]) + 1):
            label = (labels == c)[there][:, None]
            both = (masks[there] & label).sum((0, 2, 3))
            rows.append(both / (masks[there] | label).sum((0, 2, 3)).clamp(min=1))
    return thresholds, torch.stack(rows, 1)


@pytest.mark.parametrize("turn", [None, 3])
def test_it_is_what_plain_counting_gives(turn) -> None:
    images, maps = world()
    rotation = None if turn is None else random_rotation(6, generator=torch.Generator().manual_seed(turn))
    found = dissect_result(
        net(), images, layer="1", maps=maps, names=NAMES, quantile=0.05, rotation=rotation, batch_size=3
    )
    thresholds, iou = brute(net(), images, maps, 0.05, rotation)
    assert torch.equal(found.thresholds, thresholds)
    assert torch.allclose(found.iou, iou)
    assert (found.iou <= found.ceiling + 1e-6).all()
    rows = dissect(net(), images, layer="1", maps=maps, names=NAMES, quantile=0.05, rotation=rotation)
    assert [value for _, _, value in rows] == pytest.approx(iou.amax(1).tolist())
    assert rows[0][:2] == found.labels[int(iou[0].argmax())]


def test_shards_add_up_to_one_pass() -> None:
    images, maps = world()
    thresholds = unit_thresholds(net(), images, layer="1", quantile=0.05)
    given = {"layer": "1", "names": NAMES, "thresholds": thresholds}
    whole = unit_counts(net(), images, maps=maps, **given)
    parts = [
        unit_counts(net(), images[rows], maps={k: v[rows] for k, v in maps.items()}, **given)
        for rows in (slice(0, 3), slice(3, 7))
    ]
    total = parts[0] + parts[1]
    for name in ("both", "unit", "label", "seen"):
        assert torch.equal(getattr(total, name), getattr(whole, name))


def test_codes_keep_the_order_of_numbers_and_give_them_back() -> None:
    numbers = torch.tensor([-3.0, -0.25, -(2.0**-20), 0.0, 2.0**-20, 0.5, 100.0])
    codes = _codes(numbers)
    assert (codes.diff() > 0).all()
    assert torch.equal(_values(codes), numbers.half().float())
    every = torch.randn(1000, generator=torch.Generator().manual_seed(0)).half().float()
    assert torch.equal(_values(_codes(every)), every)


def test_a_dead_unit_detects_nothing() -> None:
    model = net()
    nn.init.zeros_(model[0].weight[2:3])
    with torch.no_grad():
        model[0].bias[2] = -1
    images, maps = world()
    found = dissect_result(model, images, layer="1", maps=maps, names=NAMES, quantile=0.05)
    assert found.thresholds[2] == torch.inf
    assert not found.iou[2].any()
    assert not found.detector[2]


def test_what_is_too_small_for_the_quantile_is_not_testable() -> None:
    images, maps = world()
    maps = {"object": np.zeros_like(maps["object"])}
    maps["object"][:, :, :] = 1
    maps["object"][0, 0, 0] = 2  # one pixel of all
    found = dissect_result(net(), images, layer="1", maps=maps, names=NAMES, quantile=0.2, iou=0.1)
    assert found.testable == (("object", "horse"),)


def test_a_permutation_changes_the_order_alone_and_half_the_way_twice_is_the_way() -> None:
    images, maps = world()
    order = torch.tensor([2, 0, 1, 5, 3, 4])
    turned = torch.eye(6)[order]
    plain, other = (
        dissect_result(net(), images, layer="1", maps=maps, names=NAMES, quantile=0.05, rotation=r)
        for r in (None, turned)
    )
    assert torch.allclose(other.iou, plain.iou[order])
    assert other.unique == plain.unique
    rotation = random_rotation(7)
    assert torch.allclose(rotation_power(rotation, 0.0), torch.eye(7).double(), atol=1e-9)
    assert torch.allclose(rotation_power(rotation, 1.0), rotation, atol=1e-9)
    half = rotation_power(rotation, 0.5)
    assert torch.allclose(half @ half, rotation, atol=1e-9)
    mirrored = torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double()
    half = rotation_power(mirrored, 0.5)
    assert torch.allclose(half @ half, mirrored, atol=1e-9)


IMAGES, MAPS = world()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": "3"}, "must give|feature map|space"),
        ({"maps": {}}, "at least one kind of labels"),
        ({"maps": {"object": MAPS["object"][:3]}}, "with a map a picture, N = 7"),
        ({"maps": {"colour": MAPS["object"]}}, "names must name the labels of 'colour'"),
        ({"maps": {"object": MAPS["part"]}}, "must hold 0 .none. to 2, the labels that are named; got 3"),
        (
            {"maps": {"object": MAPS["object"][:, :7, :5]}},
            "pictures' 16 x 16 pixels, or coarser .* got 7 x 5",
        ),
        ({"maps": {"object": MAPS["object"][:, :0, :0]}}, "got 0 x 0"),
        ({"maps": {"object": MAPS["object"] * 0.5}}, r"must hold whole numbers.*got float64\. Say where"),
        ({"maps": {"object": torch.ones(7, 16, 16)}}, r"must hold whole numbers.*got torch.float32"),
        ({"maps": {"object": MAPS["object"].astype(int) - 1}}, r"must hold 0 \(none\) to 2.*got -1"),
        (
            {"maps": {"object": MAPS["object"].tolist()}},
            r"array of whole numbers.*got list\. Write np\.array",
        ),
        ({"maps": MAPS["object"]}, "maps must be a dictionary .* got ndarray"),
        ({"names": {}}, "names must name the labels of 'object', from 1 on; it is empty"),
        ({"names": {**NAMES, "object": "horse"}}, r"got 'horse': a single one is \('horse',\)"),
        ({"names": {**NAMES, "object": 2}}, "got 2: write a tuple"),
        ({"quantile": 0.0}, "quantile must"),
        ({"iou": 2.0}, "iou must"),
        ({"rotation": torch.eye(5)}, "rotation must be a matrix of 6 x 6"),
    ],
)
def test_what_cannot_be_dissected_is_told(options: dict, sentence: str) -> None:
    given = {"layer": "1", "maps": MAPS, "names": NAMES, "quantile": 0.05}
    with pytest.raises(ValueError, match=sentence):
        dissect(net(), IMAGES, **{**given, **options})


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (3, 3)])
def test_label_maps_may_be_coarser_or_finer_than_the_pictures(size: tuple[int, int]) -> None:
    given = {"layer": "1", "names": {"all": ("everything",)}, "quantile": 0.2}
    rows = dissect(net(), IMAGES, maps={"all": torch.ones(7, *size, dtype=torch.long)}, **given)
    assert all(0 < value < 1 for *_, value in rows)


@pytest.mark.parametrize(
    "matrix", [torch.ones(3, 3), torch.diag(torch.tensor([-1.0, 1.0])), torch.ones(2, 3)]
)
def test_what_is_no_rotation_is_told(matrix: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="orthogonal matrix with determinant"):
        rotation_power(matrix, 0.5)
