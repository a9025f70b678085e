"""DeepMDS: exact where it can be, better than PCA where the data bends, quick, watched, stopped."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from labkit.evaluation import stress
from labkit.visualization import deep_mds, deep_mds_result, learned_projections, pca_result


def bent(n=300, seed=0):
    """A sheet of two dimensions, rolled up in twenty."""
    generator = torch.Generator().manual_seed(seed)
    along, across = torch.rand(n, generator=generator) * 5, torch.rand(n, generator=generator) * 2
    rolled = torch.stack([along.cos() * (1 + along / 5), along.sin() * (1 + along / 5), across], 1)
    turn = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(9)))[0]
    return torch.cat([rolled, torch.zeros(n, 17)], 1) @ turn


def test_data_of_few_dimensions_is_kept_exactly_and_new_rows_as_well():
    rows = torch.randn(80, 2, generator=torch.Generator().manual_seed(0)) @ torch.randn(2, 12)
    done = deep_mds_result(rows, dimensions=2, steps=20, rate=1e-4)
    assert stress(rows, done.points) < 0.02
    assert torch.allclose(done.project(rows[:9]), done.points[:9], atol=1e-4)


def test_it_beats_pca_on_what_is_bent_also_on_rows_it_has_not_seen():
    seen, new = bent(), bent(seed=1)
    flat = pca_result(seen, dimensions=1)
    done = deep_mds_result(seen, dimensions=1, steps=400)
    assert done.complete
    assert done.stages == (20, 10, 5, 2, 1)
    for rows in (seen, new):
        assert stress(rows, done.project(rows)) < 0.9 * stress(rows, flat.project(rows))


def test_hard_pairs_are_those_whose_distance_is_missed_most():
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    first = torch.nn.Linear(3, 1, bias=False)
    first.weight.data = torch.tensor([[1.0, 0.0, 0.0]])
    pairs = learned_projections._Pairs(rows, torch.Generator().manual_seed(1))
    assert len(pairs.draw(20)) == 20
    pairs.mine(first)
    missed = (torch.cdist(rows, rows) - torch.cdist(rows[:, :1], rows[:, :1])).abs()
    assert torch.equal(pairs.partner, missed.fill_diagonal_(0).argmax(1))
    drawn = pairs.draw(20)
    assert torch.equal(drawn[20:], pairs.partner[drawn[:20]])
    assert not torch.equal(deep_mds(rows, steps=9, mine_every=3), deep_mds(rows, steps=9, hard_weight=0.0))


def test_it_is_watched_stopped_and_repeatable():
    rows, frames, shares = bent(60), [], []
    whole = deep_mds_result(rows, steps=30, every=10, on_frame=lambda step, points: frames.append(step))
    assert frames == [1, 11, 21, 30]
    assert torch.equal(whole.points, deep_mds(rows, steps=30))
    assert not torch.equal(whole.points, deep_mds(rows, steps=30, generator=torch.Generator().manual_seed(1)))
    part = deep_mds_result(rows, steps=30, progress=shares.append, should_stop=lambda: len(shares) == 5)
    assert (part.complete, len(part.losses)) == (False, 5)


@pytest.mark.parametrize("kind", ["array", "half", "float64", "a thread in inference mode"])
def test_features_of_every_kind(kind):
    rows = bent(60).mul(64).round().div(64)
    given = {"array": rows.numpy(), "half": rows.half(), "float64": rows.double()}.get(kind, rows)
    with torch.inference_mode("inference" in kind):
        found = deep_mds(given, steps=5)
    assert found.dtype == (torch.float64 if kind == "float64" else torch.float32)
    assert np.allclose(found.numpy(), deep_mds(rows, steps=5).numpy(), atol=1e-3)
    assert not found.requires_grad


def test_equal_rows_are_no_trouble():
    assert deep_mds(torch.cat([bent(40)] * 2), steps=30, mine_every=5).isfinite().all()


@pytest.mark.slow
def test_two_thousand_rows_in_under_two_minutes():
    rows = torch.randn(2000, 160, generator=torch.Generator().manual_seed(0))
    began = time.process_time()
    deep_mds(rows, dimensions=5)
    assert time.process_time() - began < 120


@pytest.mark.parametrize(
    ("features", "options", "sentence"),
    [
        (torch.rand(5), {}, "shape"),
        (torch.full((9, 4), float("nan")), {}, "finite"),
        (torch.rand(3, 9), {}, "N >= 4; got"),
        (torch.rand(9, 3), {"dimensions": 4}, "dimensions must be at most 3"),
        (torch.ones(9, 3), {}, "features must vary"),
        (torch.rand(9, 3), {"steps": 0}, "steps must be"),
        (torch.rand(9, 3), {"mine_every": 0}, "mine_every must be"),
        (torch.rand(9, 3), {"every": 0}, "every must be"),
        (torch.rand(9, 3), {"hard_weight": -1}, "hard_weight must be"),
        (torch.rand(9, 3), {"rate": 0}, "rate must be"),
    ],
)
def test_bad_arguments_are_refused(features, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        deep_mds(features, **options)
