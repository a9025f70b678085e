"""PCA against scikit-learn's, t-SNE against openTSNE's plain run, watched, stopped and resumed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from openTSNE import TSNE as OpenTSNE
from sklearn.decomposition import PCA as SkPCA

from labkit.evaluation import neighbor_precision
from labkit.visualization import pca, pca_result, tsne, tsne_result


def cloud(n=60, d=7, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.arange(1.0, d + 1)


# ---- PCA


@pytest.mark.parametrize("shape", [(60, 7), (6, 20)])
def test_pca_is_scikit_learns(shape):
    rows = cloud(*shape).double()
    found = pca_result(rows, dimensions=4)
    oracle = SkPCA(4, svd_solver="full").fit(rows.numpy())
    signs = np.sign((oracle.components_ * found.components.numpy()).sum(1, keepdims=True))
    assert np.allclose(found.components.numpy(), signs * oracle.components_)
    assert np.allclose(found.variances.numpy(), oracle.explained_variance_)
    assert np.allclose(found.variances.numpy() / found.total, oracle.explained_variance_ratio_)
    assert np.allclose(found.points.numpy(), oracle.transform(rows.numpy()) * signs[:, 0])
    other = cloud(9, shape[1], seed=2).double()
    assert np.allclose(found.project(other).numpy(), oracle.transform(other.numpy()) * signs[:, 0])


def test_the_largest_entry_of_a_direction_is_positive():
    rows = cloud()
    for given in (rows, -rows, rows.flip(0)):
        components = pca_result(given, dimensions=5).components
        assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()
    assert torch.allclose(pca(rows), -pca(-rows), atol=1e-5)


@pytest.mark.parametrize("kind", ["array", "half", "float64"])
def test_pca_of_every_kind(kind):
    rows = cloud().round()
    given = {"array": rows.numpy(), "half": rows.half(), "float64": rows.double()}[kind]
    found = pca(given)
    assert found.dtype == (torch.float64 if kind == "float64" else torch.float32)
    assert torch.allclose(found.float(), pca(rows), atol=1e-4)


@pytest.mark.parametrize(
    ("features", "options", "sentence"),
    [
        (torch.rand(5), {}, "shape"),
        (torch.full((9, 2), float("inf")), {}, "finite"),
        (torch.rand(3, 9), {"dimensions": 3}, "dimensions must be at most 2, the least of columns and rows"),
        (torch.rand(9, 2), {"dimensions": 0}, "dimensions must be a whole number"),
        (torch.ones(9, 3), {}, "features must vary between rows; these are all the same"),
    ],
)
def test_bad_arguments_of_pca_are_refused(features, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        pca(features, **options)
    with pytest.raises(ValueError, match="features must have 7 columns"):
        pca_result(cloud()).project(torch.rand(2, 3))


# ---- t-SNE

FEW = {"perplexity": 8, "early_steps": 30, "steps": 40}


def three(n=90):
    rows = cloud(n, 5).div(3)
    rows[:, 0] += 12 * (torch.arange(n) % 3)
    return rows, torch.arange(n) % 3


def test_it_is_openTSNEs_run_in_one_piece():
    rows, _ = three()
    start = pca(rows.double())
    found = tsne_result(rows.double(), init=start, every=7, **FEW)
    noise = torch.randn(90, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    begin = start / start[:, 0].std() * 1e-4 + noise * 1e-6
    oracle = OpenTSNE(
        perplexity=8, initialization=begin.numpy(), early_exaggeration_iter=30, n_iter=40, n_jobs=1,
        neighbors="exact", initial_momentum=0.8, final_momentum=0.8, early_exaggeration=12,
    ).fit(rows.double().numpy())  # fmt: skip
    assert np.allclose(found.points.numpy(), oracle, rtol=1e-3, atol=1e-3 * np.abs(oracle).max())
    assert found.divergence == pytest.approx(oracle.kl_divergence, rel=1e-3)


def test_what_is_near_stays_near():
    rows, kinds = three()
    for init in ("pca", "random"):
        points = tsne(rows, init=init, perplexity=10, early_steps=100, steps=100)
        assert neighbor_precision(points, kinds).mean() > 0.98


def test_it_is_watched_stopped_and_resumed_where_it_was():
    rows, _ = three()
    seen, shares = [], []
    whole = tsne_result(rows, every=10, on_frame=lambda step, points: seen.append((step, points)), **FEW)
    assert [step for step, _ in seen] == [10, 20, 30, 40, 50, 60, 70]
    assert torch.equal(seen[-1][1], whole.points)
    part = tsne_result(rows, every=10, should_stop=lambda: len(shares) == 4, progress=shares.append, **FEW)
    assert (part.complete, part.steps, shares) == (False, 40, pytest.approx([1 / 7, 2 / 7, 3 / 7, 4 / 7]))
    assert torch.equal(part.points, seen[3][1])
    for _ in range(2):  # the result that is resumed stays as it is
        rest = tsne_result(rows, every=10, resume=part, early_steps=30, steps=40)
        assert (rest.complete, rest.steps) == (True, 70)
        assert torch.allclose(rest.points, whole.points, atol=1e-3 * float(whole.points.abs().max()))
    done = tsne_result(rows, resume=whole, early_steps=30, steps=40)
    assert torch.equal(done.points, whole.points)


def test_the_seed_is_the_generators_and_the_global_states_stay():
    rows, _ = three()
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    one, same, other = (
        tsne(rows, init="random", generator=torch.Generator().manual_seed(s), **FEW) for s in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    after = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_equal_rows_and_half_precision_are_no_trouble():
    rows, _ = three()
    rows = torch.cat([rows, rows[:20], rows[:1].expand(30, -1)])
    for given in (rows.half(), rows.numpy()):
        points = tsne(given, **FEW)
        assert points.isfinite().all()
        assert points.dtype == torch.float32


@pytest.mark.parametrize(
    ("features", "options", "sentence"),
    [
        (torch.rand(5), {}, "shape"),
        (torch.full((90, 2), float("nan")), {}, "finite"),
        (torch.rand(50, 3), {"perplexity": 30},
         "perplexity must be at most 16.3, a third of the other rows of features; got 30. Take more"),
        (torch.rand(50, 3), {"perplexity": 0.5}, "perplexity must be above 1 and at most"),
        (torch.rand(50, 3), {"perplexity": -1}, "perplexity must be a number above 0"),
        (torch.rand(50, 3), {"perplexity": 5, "init": "spectral"}, "init must be one of 'pca', 'random'"),
        (torch.rand(50, 3), {"perplexity": 5, "init": torch.rand(4, 2)}, r"points of the shape \(50, 2\)"),
        (torch.rand(50, 3), {"perplexity": 5, "dimensions": 3}, "dimensions must be 1 or 2 for t-SNE"),
        (torch.rand(50, 3), {"perplexity": 5, "steps": 0}, "steps must be"),
        (torch.rand(50, 3), {"perplexity": 5, "every": 0}, "every must be"),
        (torch.rand(50, 3), {"perplexity": 5, "metric": "l1"}, "metric must be one of"),
    ],
)  # fmt: skip
def test_bad_arguments_of_tsne_are_refused(features, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        tsne(features, **options)


def test_a_result_for_other_features_is_not_resumed():
    with pytest.raises(ValueError, match="it has 90 points, and features has 12 rows"):
        tsne_result(cloud(12), resume=tsne_result(three()[0], perplexity=5, early_steps=1, steps=1))
