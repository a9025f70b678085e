"""Gram matrices, textures and styles against what is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.style import style_transfer, style_transfer_result
from labkit.style.gram import color_matched, gram_loss, gram_matrix


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten()).eval()


def picture(seed: int, side: int = 20) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_gram_matrix_is_einsum_s_and_forgets_places() -> None:
    features = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.einsum("nkhw,nlhw->nkl", features, features) / (5 * 6 * 7)
    assert torch.allclose(gram_matrix(features), wanted)
    order = torch.randperm(42)
    shuffled = features.flatten(2)[:, :, order].view_as(features)
    assert torch.allclose(gram_matrix(shuffled), wanted)
    assert torch.allclose(gram_loss(features, wanted), torch.zeros(2).double(), atol=1e-12)
    with pytest.raises(ValueError, match="needs a feature map"):
        gram_matrix(torch.ones(2, 5))


def test_content_and_style_pull_in_turn() -> None:
    given = {"style_layers": {"1": 1.0, "2": 3.0}, "content_layer": "2", "start": "noise", "steps": 15}
    near = style_transfer_result(net(), picture(2), picture(3), content_weight=100.0, **given)
    far = style_transfer_result(net(), picture(2), picture(3), content_weight=0.01, **given)
    assert near.content < far.content
    assert far.style < near.style


def test_the_content_is_a_solution_where_the_style_is_its_own() -> None:
    shown = picture(4)
    made = style_transfer(net(), shown, shown, style_layers="1", content_layer="2", steps=3)
    assert torch.allclose(made, shown, atol=1e-4)


def test_colours_take_over_mean_and_covariance() -> None:
    draw = torch.Generator().manual_seed(5)
    mix = torch.tensor([[0.1, 0.02, 0.0], [0.0, 0.05, 0.01], [0.0, 0.0, 0.08]])
    like = (torch.randn(1, 30, 30, 3, generator=draw) @ mix + 0.5).movedim(-1, 1)
    made = color_matched(0.4 + 0.2 * picture(6), like)

    def told(pictures):
        rows = pictures.movedim(1, -1).reshape(-1, 3)
        return rows.mean(0), rows.T.cov()

    for a, b in zip(told(made), told(like), strict=True):
        assert torch.allclose(a, b, atol=2e-3)


def test_adam_and_frames() -> None:
    seen: list[int] = []
    given = {"style_layers": "1", "content_layer": "2", "optimizer": "adam", "steps": 5}
    found = style_transfer_result(
        net(), picture(2), picture(3), on_frame=lambda step, _: seen.append(step), keep_colors=True, **given
    )
    assert seen == [1, 2, 3, 4, 5]
    assert len(found.losses) == 5


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"style_layers": []}, ValueError, "style_layers must name at least one layer"),
        ({"style_layers": "seven"}, KeyError, "seven"),
        ({"style_layers": 3}, TypeError, "style_layers must be a layer's name, a list of names .* got 3"),
        ({"style_layers": [3]}, TypeError, r"got \[3\]. labkit.models.layer_names"),
        (
            {"style": picture(3).repeat(2, 1, 1, 1)},
            ValueError,
            r"style must be one picture.*as in style\[:1\]",
        ),
        ({"style_layers": {"1": 0.0}}, ValueError, "style_layers must have a weight above 0"),
        ({"style_layers": "3"}, ValueError, "needs a feature map"),
        ({"content_layer": None}, ValueError, "content_layer must name the layer"),
        ({"optimizer": "newton"}, ValueError, "optimizer must be one of"),
        ({"style": torch.full((1, 3, 8, 8), 0.3)}, ValueError, "of one colour"),
        ({"start": "blue"}, ValueError, "start must be one of"),
        ({"start": torch.zeros(1, 3, 5, 5)}, ValueError, "start must have the shape"),
        ({"style_weight": -1}, ValueError, "style_weight"),
    ],
)
def test_bad_arguments_are_refused(options: dict, error: type, sentence: str) -> None:
    given = {"style": picture(3), "style_layers": "1", "content_layer": "2", "steps": 1, **options}
    with pytest.raises(error, match=sentence):
        style_transfer(net(), picture(2), given.pop("style"), **given)
