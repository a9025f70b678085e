"""Directions, maxima and sums of targets in every method: each picture is asked about what is its own."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from labkit.attribution import METHODS
from labkit.models import Score, class_score, direction, unit

X = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ALONG = torch.randn(6, generator=torch.Generator().manual_seed(1))
TARGETS: dict[str, Score] = {
    "a direction before batch norm": direction("0", ALONG),
    "classes of their own and a unit": class_score(torch.tensor([0, 1, 2])) + unit("2", 1, "max"),
}
REFUSED = {  # what has no meaning, or no rule, there
    "cam": (TypeError, "only a class has a row of weights", tuple(TARGETS)),
    "grad_cam": (ValueError, "layer must be named", tuple(TARGETS)),
    "guided_grad_cam": (ValueError, "layer must be named", tuple(TARGETS)),
    "excitation_backprop": (ValueError, "has a rule for|layer must be named", tuple(TARGETS)),
}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[1].running_mean.uniform_(-0.2, 0.2)
        model[1].running_var.uniform_(0.05, 0.2)
    return model


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", METHODS)
def test_a_batch_gives_what_its_pictures_give_alone(net: nn.Module, name: str, kind: str) -> None:
    row, target = METHODS[name], TARGETS[kind]

    def ask(images: Tensor, own: Score) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cheap options
            return row.function(net, images, own, **row.options)

    error, says, kinds = REFUSED.get(name, (Exception, "", ()))
    if kind in kinds:
        with pytest.raises(error, match=says):
            ask(X, target)
        return
    maps = ask(X, target)
    assert maps.any()
    alone = ask(X[1:2], target.select(slice(1, 2)))
    assert torch.allclose(maps[1:2], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))
