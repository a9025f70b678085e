"""Concept vectors: the dual solver beside scikit-learn's, a linear network whose derivatives are known."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from labkit.concepts import cav, cav_result, directional_derivatives, sort_by_cav
from labkit.concepts.concept_vectors import layer_gradients, ridge_coefficients


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2, bias=bias)).eval()


@pytest.mark.parametrize("size", [3, 200])
def test_the_dual_solver_is_ridge_regression(size: int) -> None:
    rows, positive = draw(40, size), torch.arange(40) < 15
    centred = rows - rows.mean(0)
    alpha = 0.1 * float((centred**2).sum(1).mean())
    oracle = Ridge(alpha=alpha).fit(rows.numpy(), torch.where(positive, 1.0, -1.0).numpy()).coef_
    weights = rows.T @ ridge_coefficients(rows @ rows.T, positive, 0.1)
    assert torch.allclose(weights, torch.from_numpy(oracle), atol=1e-10)


def test_separable_sets_are_told_apart_on_pictures_held_out_and_noise_is_not() -> None:
    apart = cav_result(draw(60, 20) + 5, draw(30, 20, seed=1))
    assert apart.accuracy == 1.0
    assert apart.held_out == 30
    same = [cav_result(draw(200, 5, seed=s), draw(100, 5, seed=s + 50)).accuracy for s in range(10)]
    assert abs(sum(same) / 10 - 0.5) < 0.06  # of unequal sets, too: not the share of the larger one


def test_the_vector_points_to_the_concept_and_turns_with_the_roles() -> None:
    concept, others = draw(30, 4, 2, 2), draw(30, 4, 2, 2, seed=1)
    concept[:, 2] += 3
    found = cav(concept, others)
    assert found.norm().item() == pytest.approx(1)
    assert (found.view(4, 4).sum(1).argmax(), (found.view(4, 4)[2] > 0).all()) == (2, True)
    assert torch.allclose(cav(others, concept), -found, atol=1e-6)


def test_derivatives_of_a_linear_head_are_its_weights() -> None:
    model, images = net(), draw(3, 3, 4, 4).sigmoid().float()
    weight = model[3].weight[1]
    slopes = layer_gradients(model, images, 1, layer="1", batch_size=2)
    assert torch.allclose(slopes.flatten(1), weight.expand(3, -1))
    vector = torch.eye(64)[5] * 2
    with pytest.warns(UserWarning, match="0 or 1 there by algebra"):
        found = directional_derivatives(model, images, 1, layer="1", vector=vector)
    assert torch.allclose(found, 2 * weight[5].expand(3))


def test_one_number_a_channel_moves_all_its_places() -> None:
    model, images = net(), draw(3, 3, 4, 4).sigmoid().float()
    channel, step = torch.tensor([0.0, 1.0, 0.0, 0.0]), 1e-3
    found = directional_derivatives(model, images, 0, layer="0", vector=channel)
    before = model[0](images)
    moved = model[1:](before + step * channel.view(1, 4, 1, 1)) - model[1:](before)
    assert torch.allclose(found, moved[:, 0] / step, atol=2e-2)


def test_each_picture_has_its_own_class() -> None:
    model, images = net(), draw(5, 3, 4, 4).sigmoid().float()
    classes = torch.tensor([0, 1, 1, 0, 1])
    found = layer_gradients(model, images, classes, layer="0", batch_size=2)
    for row, index in enumerate(classes.tolist()):
        assert torch.allclose(found[row], layer_gradients(model, images[row : row + 1], index, layer="0")[0])


def test_pictures_are_sorted_by_the_cosine_and_nothing_gives_zero() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    pictures = torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]).view(3, 3, 1, 1)
    order, cosines = sort_by_cav(model, pictures, layer="0", vector=torch.tensor([2.0, 0.0, 0.0]))
    assert order.tolist() == [2, 0, 1]
    assert cosines.tolist() == pytest.approx([1.0, 0.1 / 0.82**0.5, 0.0])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cav(draw(1, 4), draw(5, 4)), "concept must be of at least 2 pictures, better 30; got 1"),
        (lambda: cav(draw(5, 4), draw(5, 3)), "features of one layer; got 4 and 3 numbers"),
        (lambda: cav(draw(5, 4), draw(5, 4) * float("nan")), "others must be finite"),
        (lambda: cav(torch.ones(5, 4), torch.ones(6, 4)), "must differ in what the layer gives"),
        (lambda: cav([1.0], draw(5, 4)), "concept must be features"),
        (lambda: cav(draw(5, 4), draw(5, 4), held_out=1.5), "held_out must"),
        (
            lambda: directional_derivatives(
                net(), torch.rand(2, 3, 4, 4), 0, layer="0", vector=torch.ones(3)
            ),
            "vector must have 64 numbers, or 4, one a channel",
        ),
    ],
)
def test_what_cannot_be_is_told(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_layer_beside_the_target_is_refused() -> None:
    with pytest.raises(KeyError, match="Did you mean|nearest|'0'"):
        layer_gradients(net(), torch.rand(1, 3, 4, 4), 0, layer="9")
