"""Physical patches: the square is learned where something of it can be seen, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.adversarial import physical_patch, physical_patch_result
from labkit.data import decal_views


class Reddish(nn.Module):
    """Class 1 where the mean of red is higher than the mean of green."""

    def forward(self, x: Tensor) -> Tensor:
        gap = 30 * (x[:, 0] - x[:, 1]).flatten(1).mean(1)
        return torch.stack([-gap, gap], 1)


class Wall:
    """Views of a square that is all there is to see, the second one dark."""

    count, channels = 2, 3

    def __call__(self, square: Tensor, rows: list[int]) -> Tensor:
        light = torch.tensor([1.0, 0.0])[torch.as_tensor(rows)].to(square)
        return square * light.view(-1, 1, 1, 1)


def test_a_square_for_the_reddish_is_red_on_any_surface() -> None:
    for kind in ("crate", "T-shirt"):
        views = decal_views(kind, 3, area=(0.01, 0.3))
        found = physical_patch_result(Reddish().eval(), views, 1, side=4, steps=40, rate=0.1, batch=3)
        middle = found.patch[:, 1:3, 1:3]
        assert middle[0].min() > 0.9
        assert middle[1].max() < 0.1
        assert found.losses[-5:].mean() < found.losses[:5].mean()


def test_without_transformations_only_the_first_view_counts() -> None:
    seen: list[list[int]] = []

    class Watched(Wall):
        def __call__(self, square: Tensor, rows: list[int]) -> Tensor:
            seen.append(list(rows))
            return super().__call__(square, rows)

    given = {"side": 4, "steps": 6, "batch": 2}
    physical_patch(Reddish().eval(), Watched(), 1, transformed=False, **given)
    assert {row for rows in seen for row in rows} == {0}
    seen.clear()
    physical_patch(Reddish().eval(), Watched(), 1, **given)
    assert {row for rows in seen for row in rows} == {0, 1}


class Rounded(Wall):
    def __call__(self, square: Tensor, rows: list[int]) -> Tensor:
        return super().__call__(square.detach(), rows)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"side": 0}, ValueError, "side must be"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"target": 7}, IndexError, "target"),
        ({"target": "horse"}, TypeError, "target must be a class index"),
        ({"views": torch.rand(2, 3, 4, 4)}, ValueError, "views must be at least one view"),
        ({"views": Rounded()}, ValueError, "views must pass derivatives on to the square"),
    ],
)
def test_what_cannot_be_filmed_is_refused(given: dict, error: type, sentence: str) -> None:
    options = {"views": Wall(), "target": 1, "steps": 1, "side": 4, **given}
    with pytest.raises(error, match=sentence):
        physical_patch(Reddish().eval(), options.pop("views"), options.pop("target"), **options)
