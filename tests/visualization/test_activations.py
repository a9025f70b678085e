"""The activation grid against a hook, channels last included; packing against units made for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.models import load_model, record
from labkit.visualization import activation_grid, packing, packing_result
from labkit.visualization.activations import loudest


def test_it_is_what_a_hook_hears() -> None:
    model, images = load_model("minivgg"), torch.rand(2, 3, 64, 64)
    with torch.no_grad(), record(model, "features.5") as kept:
        model(images)
    assert torch.equal(activation_grid(model, images, "features.5"), kept["features.5"])


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2))


def test_channels_come_to_the_front() -> None:
    model, images = Last().eval(), torch.rand(1, 3, 8, 7)
    with torch.no_grad(), record(model, "norm") as kept:
        model(images)
    assert torch.equal(activation_grid(model, images, "norm"), kept["norm"].permute(0, 3, 1, 2))


def test_no_map_and_other_refusals() -> None:
    model, images = load_model("minivgg-random"), torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="layer must give a feature map"):
        activation_grid(model, images, "classifier")
    with pytest.raises(KeyError, match="nearest are"):
        activation_grid(model, images, "features.99")
    with pytest.raises(ValueError, match="one picture's"):
        loudest(images)
    assert loudest(torch.tensor([[[0.0, 2.0]], [[3.0, -9.0]], [[2.0, 0.0]]])) == [1, 0, 2]


def test_a_unit_that_holds_two_concepts_and_one_that_holds_one() -> None:
    labels = torch.zeros(4, 8, 8, dtype=torch.long)
    labels[0, :4, :4], labels[1, :4, 4:], labels[2, 4:] = 1, 2, 3
    maps = torch.zeros(4, 3, 4, 4)
    maps[0, 0, :2, :2], maps[1, 0, :2, 2:] = 2.0, 3.0  # at concepts 1 and 2
    maps[2, 1, 2:] = 1.0  # at concept 3
    found = packing_result(maps, labels, top=8 / 64)
    torch.testing.assert_close(
        found.overlap, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    )
    torch.testing.assert_close(found.chance, torch.tensor([4 / 64, 4 / 64, 8 / 64]))
    assert found.fired.tolist() == [True, True, False]
    assert [name for name, _ in found.holds(0, ["none", "eye", "wheel", "leg"][1:])] == ["eye", "wheel"]
    assert found.holds(1) == [(2, 1.0)]
    assert torch.equal(packing(maps, labels, top=8 / 64, concepts=5)[:, 3:], torch.zeros(3, 2))


@pytest.mark.parametrize(("change", "error", "words"), [
    ({"top": 0.0}, ValueError, "top must be a number above 0 and below 1"),
    ({"maps": torch.zeros(2, 3, 4)}, ValueError, "maps must have the shape"),
    ({"labels": torch.zeros(2, 8, 8)}, TypeError, "labels must hold whole numbers"),
    ({"maps": torch.full((2, 1, 4, 4), torch.nan)}, ValueError, "maps must be finite"),
    ({"concepts": 0}, ValueError, "concepts must be a whole number"),
])  # fmt: skip
def test_packing_refuses(change: dict, error: type[Exception], words: str) -> None:
    given = {"maps": torch.zeros(2, 1, 4, 4), "labels": torch.ones(2, 8, 8, dtype=torch.long)} | change
    with pytest.raises(error, match=words):
        packing(given.pop("maps"), given.pop("labels"), **given)
