"""Textures made from Gram matrices: near in statistics, elsewhere in layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.style import gram_texture, gram_texture_result, style_transfer
from labkit.style.gram import gram_loss, gram_matrix
from labkit.style.synthesis import SPACES


def net(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten()).eval()


def picture(seed: int, side: int = 20, channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("space", SPACES)
def test_texture_comes_near_the_sample_s_statistics_and_not_its_layout(space: str) -> None:
    sample = picture(1)
    found = gram_texture_result(net(), sample, ["1", "2"], steps=10, side=(24, 22), space=space)
    assert found.images.shape == (1, 3, 24, 22)
    assert found.style < 0.02
    assert found.content == 0
    assert found.losses[-1] < 0.05 * found.losses[0]
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    same = gram_texture(net(), sample, ["1", "2"], steps=10, space=space)
    assert abs(float(torch.corrcoef(torch.stack([same.flatten(), sample.flatten()]))[0, 1])) < 0.3


def test_the_loss_is_that_of_the_gram_matrices_with_their_weights() -> None:
    model, sample = net(), picture(2)
    found = gram_texture_result(model, sample, {"1": 1.0, "2": 3.0}, steps=2, optimizer="adam")

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        first = model[1](model[0](images))  # type: ignore[index]
        return [first, model[2](first)]  # type: ignore[index]

    with torch.no_grad():
        pairs = zip(features(found.images), features(sample), strict=True)
        losses = [float(gram_loss(own, gram_matrix(theirs))) for own, theirs in pairs]
    assert found.style == pytest.approx(0.25 * losses[0] + 0.75 * losses[1], rel=1e-5)


def test_one_channel_frames_and_smoothness() -> None:
    seen: list[int] = []
    given = {"layers": "1", "steps": 3, "on_frame": lambda step, _: seen.append(step)}
    plain = gram_texture(net(1), picture(3, channels=1), **given)
    assert seen == [1, 2, 3]
    assert plain.shape == (1, 1, 20, 20)
    smooth = gram_texture(net(1), picture(3, channels=1), tv_weight=10.0, **given)
    assert smooth.diff(dim=3).abs().mean() < 0.5 * plain.diff(dim=3).abs().mean()


def test_a_seed_is_a_picture() -> None:
    made = [
        gram_texture(net(), picture(4), "1", steps=2, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.allclose(made[0], made[2], atol=0.01)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"layers": []}, ValueError, "layers must name at least one layer"),
        ({"layers": "seven"}, KeyError, "seven"),
        ({"layers": 3}, TypeError, "layers must be a layer's name, a list of names .* got 3"),
        (
            {"texture": picture(3).repeat(2, 1, 1, 1)},
            ValueError,
            r"texture must be one picture.*got \(2, 3, ",
        ),
        ({"layers": "3"}, ValueError, "needs a feature map"),
        ({"texture": torch.full((1, 3, 8, 8), 0.3)}, ValueError, "texture must vary over the picture"),
        ({"optimizer": "newton"}, ValueError, "optimizer must be one of"),
        ({"space": "waves"}, ValueError, "space must be one of"),
        ({"side": (0, 4)}, ValueError, "side must be"),
        ({"side": (4, 0)}, ValueError, "the second side must be"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"tv_weight": -1}, ValueError, "tv_weight"),
    ],
)
def test_bad_arguments_are_refused(options: dict, error: type, sentence: str) -> None:
    given = {"texture": picture(3), "layers": "1", "steps": 1, **options}
    with pytest.raises(error, match=sentence):
        gram_texture(net(), given.pop("texture"), given.pop("layers"), **given)


def test_a_number_is_a_square_of_that_side() -> None:
    given = {"layers": "1", "steps": 1}
    assert torch.equal(
        gram_texture(net(), picture(3), side=9, **given),
        gram_texture(net(), picture(3), side=(9, 9), **given),
    )
    made = style_transfer(net(), None, picture(3), style_layers="1", side=9, steps=1, start="noise")
    assert made.shape == (1, 3, 9, 9)
