"""Sanity checks, held to definitions, to a network whose order of running is another than that of its list,
and to batch normalization whose statistics are known."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from labkit.attribution import saliency
from labkit.evaluation import (
    cascading_randomization,
    class_selectivity,
    edge_map,
    execution_order,
    randomized,
    rank_correlation,
    ssim,
    ssim_floor,
)


class Backwards(nn.Module):
    """Registers its layers in another order than it runs them, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.head = nn.Linear(4, 3)
            self.unused = nn.Linear(4, 3)
            self.second = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            with torch.no_grad():
                self.norm.running_mean.fill_(5)
                self.norm.running_var.fill_(9)
                self.norm.weight.fill_(2)
                self.norm.bias.fill_(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        return self.head(self.second(x).relu().mean((2, 3)))


def pictures(n: int = 4) -> Tensor:
    return torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(2))


def test_rank_correlation_is_scipy_s_and_knows_ties() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(2, 6, 7, generator=generator).mul(2).round() for _ in range(2))
    expected = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-6)
    sizes = [spearmanr(x.abs().flatten(), y.abs().flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b, absolute=True).tolist() == pytest.approx(sizes, abs=1e-6)
    assert rank_correlation(a, -a).tolist() == pytest.approx([-1, -1])
    assert rank_correlation(a, -a, absolute=True).tolist() == pytest.approx([1, 1])
    assert rank_correlation(a, a.exp()).tolist() == pytest.approx([1, 1])


def test_a_constant_map_has_no_rank() -> None:
    assert rank_correlation(torch.zeros(1, 4, 4), torch.rand(1, 4, 4)).isnan().item()


def test_ssim_does_not_ask_for_the_unit_and_falls_for_another_picture() -> None:
    a = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    assert ssim(a, 7 * a + 3).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert ssim(a, a.flip(0)).max() < 0.5
    assert ssim(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)).item() == 1
    assert ssim(torch.rand(1, 4, 4), torch.rand(1, 4, 4)).isfinite().all()  # smaller than the window


def test_smooth_blobs_that_have_nothing_in_common_are_alike_for_ssim() -> None:
    """The reason for the floor."""
    place = torch.linspace(-1, 1, 64)
    blobs = torch.stack([
        torch.exp(-((place[:, None] - at) ** 2 + (place - at) ** 2) / 0.05) for at in (0.5, -0.5)
    ])  # fmt: skip
    assert ssim_floor(blobs) > 0.4
    assert ssim_floor(torch.rand(2, 64, 64)) < 0.1
    with pytest.raises(ValueError, match="at least two pictures' maps; got 1"):
        ssim_floor(blobs[:1])


def test_selectivity_is_one_for_a_method_that_does_not_ask_the_class() -> None:
    model, x = Backwards().eval(), pictures()
    first, second = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    edges = class_selectivity(lambda _, images, __: edge_map(images), model, x, first, second)
    assert edges.tolist() == pytest.approx([1] * 4)
    expected = rank_correlation(saliency(model, x, 0), saliency(model, x, 1))
    assert torch.equal(class_selectivity(saliency, model, x, first, second), expected)


def test_layers_come_in_the_order_in_which_they_run() -> None:
    model = Backwards().eval()
    assert execution_order(model, pictures()) == ["first", "norm", "second", "head"]
    assert not any(m._forward_pre_hooks for m in model.modules())
    done = cascading_randomization(model, pictures(), torch.zeros(4).long(), {"saliency": saliency})
    assert done.layers == ["head", "second", "norm", "first"]


def test_only_the_layers_named_are_drawn_anew_and_the_same_again() -> None:
    model, x = Backwards().eval(), pictures()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    twin = randomized(model, ["second"], x)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not torch.equal(twin.second.weight, model.second.weight)
    assert torch.equal(twin.first.weight, model.first.weight)
    assert torch.equal(twin.head.weight, model.head.weight)
    assert torch.equal(twin.second.weight, randomized(model, ["head", "second"], x).second.weight)
    assert not torch.equal(twin.second.weight, randomized(model, ["second"], x, seed=1).second.weight)
    assert not twin.training
    with pytest.raises(KeyError, match="'third'"):
        randomized(model, ["third"], x)


def test_batch_statistics_are_taken_anew_and_its_affine_part_goes_back() -> None:
    model, x = Backwards().eval(), pictures()
    twin = randomized(model, ["first", "norm"], x)
    assert twin.norm.weight.unique().tolist() == [1]
    assert twin.norm.bias.unique().tolist() == [0]
    with torch.no_grad():
        activations = twin.first(x)
    assert torch.allclose(twin.norm.running_mean, activations.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(twin.norm.running_var, activations.var((0, 2, 3)), atol=1e-4)
    assert twin.norm.momentum == model.norm.momentum
    kept = randomized(model, ["head"], x).norm  # another layer: the affine part stays
    assert kept.weight.unique().tolist() == [2]


def test_the_untouched_network_is_the_measure_and_no_point_of_the_curve() -> None:
    model, x = Backwards().eval(), pictures()
    target = torch.tensor([0, 1, 2, 0])
    done = cascading_randomization(
        model, x, target, {"saliency": saliency, "edges": lambda _, images, __: edge_map(images)}
    )
    assert torch.equal(done.maps["saliency"][0], saliency(model, x, target))
    assert done.maps["saliency"].shape == (5, 4, 12, 12)
    assert done.rank["saliency"].shape == (4, 4)
    for measure in (done.rank, done.rank_abs, done.ssim):
        assert measure["edges"].mean().item() == pytest.approx(1)
        assert measure["saliency"].mean() < 0.9
    last = randomized(model, done.layers, x)
    assert torch.equal(done.maps["saliency"][-1], saliency(last, x, target))


def test_independent_randomization_touches_one_layer_at_a_time() -> None:
    model, x = Backwards().eval(), pictures()
    done = cascading_randomization(
        model,
        x,
        torch.zeros(4).long(),
        {"saliency": saliency},
        mode="independent",
        layers=["second", "first"],
    )
    assert done.layers == ["second", "first"]
    assert torch.equal(done.maps["saliency"][2], saliency(randomized(model, ["first"], x), x, 0))


def test_progress_is_told() -> None:
    heard: list[float] = []
    cascading_randomization(
        Backwards().eval(), pictures(), torch.zeros(4).long(), {"s": saliency}, progress=heard.append
    )
    assert heard == [0.25, 0.5, 0.75, 1]


def test_mistakes_get_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"maps must both have the shape \(N, H, W\)"):
        rank_correlation(torch.rand(1, 4, 4), torch.rand(1, 4, 5))
    with pytest.raises(ValueError, match="maps must be finite"):
        ssim(torch.full((1, 4, 4), float("nan")), torch.rand(1, 4, 4))
    with pytest.raises(ValueError, match="at least 3 pixels a side"):
        ssim(torch.rand(1, 2, 2), torch.rand(1, 2, 2))
    with pytest.raises(ValueError, match="model must have layers with weights"):
        cascading_randomization(
            nn.Sequential(nn.Flatten()).eval(), pictures(), torch.zeros(4).long(), {"s": saliency}
        )
    with pytest.raises(ValueError, match="mode must be"):
        cascading_randomization(
            Backwards().eval(), pictures(), torch.zeros(4).long(), {"s": saliency}, mode="all"
        )
