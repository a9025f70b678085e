"""The experiments of lab 12: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments import feature_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.feature_space import plain

from .spy import assert_sound, controls, quick, unwritten

BARE = ["twin", "pixels", "edges", "colours"]
MADE = ["full space minus t-SNE", "PCA", "twin, t-SNE", "pixels, t-SNE"]
GAIN = "purity of 5 neighbours in two dimensions, t-SNE minus PCA, "
WANTED = {
    "V2": {
        "precision@5 by class, conv6 over pixels": (">= 4 (lower bound)", []),
        "precision@5 by class, conv6": ("> 0.17 (lower bound)", BARE),
        "precision@5 by ground, conv6 minus pixels": ("> 0 (lower bound)", ["conv6", *BARE]),
    },
    "V3": {
        GAIN + "conv6": (">= 0.3 (lower bound)", MADE),
        GAIN + "conv4": (">= 0.15 (lower bound)", MADE),
    },
    "V4": {
        "intrinsic dimension of conv6 over its width": (
            "< 0.1 (upper bound)", ["matched Gaussian", "twin", "pixels, over their number"]
        ),
        "intrinsic dimension minus the matched Gaussian's": ("< 0 (upper bound)", []),
        "1-NN accuracy in 5 dimensions, DeepMDS minus PCA": (
            ">= 0.05 (lower bound)", ["random projection minus PCA"]
        ),
        "1-NN accuracy, full space minus 5 dimensions of DeepMDS": ("within 0.05", []),
        "stress in 5 dimensions, DeepMDS over PCA": ("<= 0.85", ["random projection over PCA"]),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "12_feature_space"


def test_the_students_steps_are_tsne():
    rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    rows[:, 0] += 15 * labels
    own = {name: find(f"visualization.{name}").reference for name in ("affinities", "tsne_step")}
    fall = demonstrations.descent(rows, 8, **own)
    assert list(fall.points) == ["step 0", "step 40", "step 100", "step 400"]
    shares = list(fall.purity(labels).values())
    assert shares[0] < 0.5
    assert shares[-1] > 0.97


def test_the_affinities_are_scikit_learns():
    import numpy as np
    from scipy.spatial.distance import squareform
    from sklearn.manifold import _t_sne

    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)).double()
    squares = torch.cdist(rows, rows) ** 2
    found = find("visualization.affinities").reference(squares, 10.0)
    oracle = squareform(_t_sne._joint_probabilities(squares.numpy().astype(np.float32), 10.0, 0))
    assert np.allclose(found.numpy(), oracle, atol=1e-6)
    assert float(found.sum()) == pytest.approx(1)


def test_the_step_is_the_gradient_of_the_divergence():
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(2)).double().requires_grad_(True)
    squares = torch.cdist(points.detach() * 3, points.detach() * 3) ** 2
    p = find("visualization.affinities").reference(squares, 3.0)
    kernel = 1 / (1 + ((points[:, None] - points) ** 2).sum(2)) * (1 - torch.eye(12))
    divergence = (torch.xlogy(p, p) - torch.xlogy(p, kernel / kernel.sum() + torch.eye(12))).sum()
    slope = torch.autograd.grad(divergence, points)[0]
    stepped = find("visualization.tsne_step").reference(points.detach(), p, 0.1)
    torch.testing.assert_close(stepped, points.detach() - 0.1 * slope)


def test_known_dimensions_are_underestimated_and_the_space_takes_guests():
    own = find("visualization.mle_dimension").reference
    truth, curves = demonstrations.known_dimensions(Bench("quick"), mle_dimension=own)
    assert curves["the truth"] == truth
    assert curves["200 rows"][-1] < curves["300 rows"][-1] < truth[-1]
    with pytest.raises(NotImplementedError):
        demonstrations.known_dimensions(Bench("quick"), mle_dimension=unwritten)


def test_features_without_a_network():
    import numpy as np

    pictures = np.random.default_rng(0).integers(0, 255, (3, 128, 128, 3), np.uint8)
    assert [plain(pictures, kind).shape[1] for kind in ("pixels", "edges", "colours")] == [3072, 256, 64]
