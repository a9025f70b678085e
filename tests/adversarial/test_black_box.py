"""Transfer, substitutes and patches on networks that can be seen through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.adversarial import (
    LabelsOnly,
    Placing,
    adversarial_patch,
    adversarial_patch_result,
    substitute_result,
    transfer_matrix_result,
)
from labkit.adversarial.patches import draw_placing, paste


class Brightness(nn.Module):
    """Class 1 where a channel's mean is above a half."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel = channel

    def forward(self, x: Tensor) -> Tensor:
        level = 20 * (x[:, self.channel].flatten(1).mean(1) - 0.5)
        return torch.stack([-level, level], 1)


def shown(count: int = 8) -> Tensor:
    levels = torch.linspace(0.45, 0.55, count).view(-1, 1, 1, 1)
    return levels.expand(-1, 3, 8, 8).clone()


def test_what_looks_at_the_same_is_fooled_and_what_looks_elsewhere_is_not() -> None:
    nets = {"red": Brightness(0).eval(), "red too": Brightness(0).eval(), "blue": Brightness(2).eval()}
    images = shown()
    labels = (images[:, 0, 0, 0] > 0.5).long()
    found = transfer_matrix_result(nets, nets, images, labels, epsilon=0.08)
    assert found.errors[0].tolist() == [1.0, 1.0, 0.0]
    assert found.errors[2].tolist() == [0.0, 0.0, 1.0]
    assert found.counts.tolist() == [8, 8, 8]
    none = transfer_matrix_result(nets, {"wrong": Brightness(0).eval()}, images, 1 - labels)
    assert none.errors.isnan().all()
    with pytest.raises(ValueError, match="at least one network"):
        transfer_matrix_result({}, nets, images, labels)


def test_a_substitute_learns_the_box_from_its_answers_and_counts_them() -> None:
    box = LabelsOnly(Brightness(1).eval())
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(96, 3, 1, 1, generator=draw).expand(-1, -1, 8, 8).clone()
    seen: list[int] = []

    def new() -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 2))

    found = substitute_result(
        box, images, new, rounds=3, epochs=40, rate=0.3, most=300,
        on_round=lambda queries, _: seen.append(queries),
    )  # fmt: skip
    assert found.queries == seen == [96, 192, 300]
    assert box.queries == len(found.images) == 300
    fresh = torch.rand(200, 3, 1, 1, generator=draw).expand(-1, -1, 8, 8)
    with torch.no_grad():
        agrees = (found.model.eval()(fresh).argmax(1) == box(fresh)).float().mean()
    assert agrees > 0.9
    first, second = found.images[:96], found.images[96:192]
    change = (second.unsqueeze(1) - first.unsqueeze(0)).abs().flatten(2).amax(2).amin(1)
    assert (change <= 0.1 + 1e-6).all()
    for options, sentence in (({"rounds": 0}, "rounds must be"), ({"epochs": 0}, "epochs must be")):
        with pytest.raises(ValueError, match=sentence):
            substitute_result(box, images, new, **options)


def test_a_patch_lies_where_it_was_put() -> None:
    one = torch.ones(1)
    placing = Placing(one * 0.25, one * 0.75, one * 0.5, one * 0, one)
    laid = paste(torch.zeros(1, 3, 8, 8), torch.ones(3, 4, 4), placing, "square")
    wanted = torch.zeros(1, 3, 8, 8)
    wanted[:, :, 4:, :4] = 1
    assert torch.allclose(laid, wanted, atol=1e-5)


def test_a_quarter_turn_turns_it_against_the_clock() -> None:
    one = torch.ones(1)
    patch = torch.zeros(3, 4, 4)
    patch[:, :, 2:] = 1  # its right half
    upright = Placing(one / 2, one / 2, one, one * 0, one)
    turned = upright._replace(angle=one * 90)
    assert paste(torch.zeros(1, 3, 4, 4), patch, upright, "square")[0, 0, 0].tolist() == [0, 0, 1, 1]
    found = paste(torch.zeros(1, 3, 4, 4), patch, turned, "square")[0, 0]
    assert torch.allclose(found[:2], torch.ones(2, 4), atol=1e-5)
    assert torch.allclose(found[2:], torch.zeros(2, 4), atol=1e-5)


def test_placings_keep_the_patch_within_the_picture() -> None:
    drawn = draw_placing(200, size=(0.2, 0.5), generator=torch.Generator().manual_seed(0))
    for middle in (drawn.x, drawn.y):
        assert (middle - drawn.size / 2 >= -1e-6).all()
        assert (middle + drawn.size / 2 <= 1 + 1e-6).all()
    for size in ((0.0, 0.2), (0.5, 0.2), (0.5, 1.2)):
        with pytest.raises(ValueError, match="size must be two shares"):
            draw_placing(1, size=size)


def test_a_patch_for_the_red_one_is_red() -> None:
    found = adversarial_patch_result(Brightness(0).eval(), shown(), 1, side=6, steps=60, rate=0.1)
    assert found.patch[0, 2:4, 2:4].min() > 0.95
    assert (found.patch[1:] - 0.5).abs().max() < 0.2
    assert found.losses[-10:].mean() < found.losses[:10].mean()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"side": 0}, ValueError, "side must be"),
        ({"shape": "star"}, ValueError, "shape must be one of"),
        ({"size": (0.5, 2.0)}, ValueError, "size must be two shares"),
        ({"target": 7}, IndexError, "target"),
        ({"target": "horse"}, TypeError, "target must be a class index"),
    ],
)
def test_bad_patches_are_refused(options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        adversarial_patch(Brightness(0).eval(), shown(), **{"target": 1, "steps": 1, **options})


def test_placings_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="one place a picture, 2; got 1"):
        paste(torch.zeros(2, 3, 8, 8), torch.ones(3, 4, 4), draw_placing(1))
