"""Lab 33's answers are what the library gives."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr

from labkit.concepts import analogy, mantel
from labkit.concepts.concept_pixels import Pixels, fit_weights, strongest, unit_ious
from labkit.exercises import find


def reference(name):
    return find(f"concepts.{name}").reference


def pixels(n=1, p=200, k=6):
    draw = torch.Generator().manual_seed(0)
    on = torch.rand(n, p, k, generator=draw) < 0.3
    label = (on[..., :1] | on[..., 1:2]) & (torch.rand(n, p, 1, generator=draw) < 0.8)
    return Pixels(on.to(torch.uint8), label, label.any(1))


def test_the_best_single_filter_is_the_library_s():
    given = pixels()
    best, iou = reference("best_single")(given.level[0] > 0, given.label[0, :, 0])
    ious = unit_ious(given)[:, 0]
    assert int(best) == int(ious.argmax())
    assert float(iou) == pytest.approx(float(ious.max()))


def test_the_step_ends_where_the_library_does():
    given = pixels()
    weights = torch.zeros(6)
    for _ in range(600):
        weights = reference("net2vec_step")(given.level[0] > 0, given.label[0, :, 0], weights, 10.0)
    assert torch.allclose(weights, fit_weights(given, epochs=900)[0], atol=0.05)
    said = reference("concept_mask")(given.level[0] > 0, weights, 0.6)
    iou = (said & given.label[0, :, 0]).sum() / (said | given.label[0, :, 0]).sum()
    assert float(given.ious(weights[None], 0.6)[0]) == pytest.approx(float(iou))


def test_the_step_is_the_gradient_of_the_weighted_cross_entropy():
    given, weights = pixels(), torch.randn(6, generator=torch.Generator().manual_seed(1))
    on, label = given.level[0] > 0, given.label[0, :, 0]
    alpha = 1 - label.float().mean()
    loose = weights.clone().requires_grad_(True)
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        on.float() @ loose, label.float(), torch.where(label, alpha, 1 - alpha)
    )
    each.backward()
    stepped = reference("net2vec_step")(on, label, weights, 0.5)
    torch.testing.assert_close(stepped, weights - 0.5 * loose.grad)


def test_the_strongest_the_nearest_and_the_ranks_are_the_library_s():
    space = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(reference("top_filters")(space, 2) != 0, strongest(space, 2))
    assert torch.equal(reference("analogy")(space, 0, 3, 5, 3), analogy(space, [0, 5], [3], count=3))
    first, second = (torch.cdist(space[:, cut], space[:, cut]).round() for cut in (slice(2), slice(2, 5)))
    found = float(reference("rank_agreement")(first, second))
    assert found == pytest.approx(mantel(first, second), abs=1e-6)
    above = torch.triu_indices(9, 9, 1)
    oracle = spearmanr(first[above[0], above[1]], second[above[0], above[1]]).statistic
    assert found == pytest.approx(float(oracle), abs=1e-6)
