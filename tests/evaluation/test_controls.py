"""Controls: maps that know nothing, twins, other pictures' labels, noise, matched clouds, raw features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.evaluation import centre_map, edge_map, random_map
from labkit.evaluation.controls import (
    colour_features,
    equal_norm_noise,
    matched_gaussian,
    of_another,
    other_pictures,
    phase_shuffled,
    position_features,
    random_directions,
    random_projections,
    random_subspace,
    twin,
)
from labkit.models import features, load_model


def test_the_centre_is_highest_in_the_middle_and_the_same_for_all() -> None:
    maps = centre_map(torch.rand(2, 3, 9, 15))
    assert torch.equal(maps[0], maps[1])
    assert maps[0].argmax().item() == 4 * 15 + 7
    assert maps[0, 4, 7] == 1
    assert torch.allclose(maps, maps.flip(1))
    assert torch.allclose(maps, maps.flip(2))
    # one spread from the middle, along either side: exp(-1/2)
    assert centre_map(torch.rand(1, 3, 9, 9))[0, 4, 6] == pytest.approx(2.718281828**-0.5)


def test_the_edge_is_the_slope_of_the_luminance() -> None:
    ramp = torch.arange(6.0).div(10).expand(1, 3, 6, 6)
    assert torch.allclose(edge_map(ramp)[0, :, 1:-1], torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(edge_map(ramp.mT)[0, 1:-1], torch.tensor(0.1), atol=1e-6)
    assert edge_map(torch.full((1, 3, 5, 5), 0.7)).abs().max() < 1e-6  # and no edge along the border
    green = torch.zeros(1, 3, 4, 4)
    green[:, 1, :, 2:] = 1
    assert edge_map(green).max() == pytest.approx(0.587 / 2)


def test_chance_is_drawn_anew_for_each_picture_and_the_same_again() -> None:
    pictures = torch.rand(2, 3, 4, 4)
    before = torch.get_rng_state()
    maps = random_map(pictures)
    assert not torch.equal(maps[0], maps[1])
    assert torch.equal(maps, random_map(pictures))
    assert not torch.equal(maps, random_map(pictures, torch.Generator().manual_seed(1)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_spread_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"spread must be above 0, a share of the side such as 0\.25; got 0"):
        centre_map(torch.rand(1, 3, 4, 4), spread=0)


@pytest.mark.parametrize("make", [centre_map, edge_map, random_map])
@pytest.mark.parametrize("shape", [(2, 3, 6, 9), (1, 1, 5, 5), (3, 4, 8, 4)], ids=["wide", "grey", "tall"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_baseline_has_the_shape_of_a_methods_map(make, shape: tuple[int, ...], kind: torch.dtype) -> None:
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(kind).requires_grad_(True)
    before = pictures.detach().clone()
    maps = make(pictures)
    assert maps.shape == (shape[0], *shape[2:])
    assert maps.dtype == kind
    assert not maps.requires_grad
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert torch.equal(pictures, before)
    maps[0] += 1  # its own memory: one picture's map may be changed alone
    assert shape[0] == 1 or not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("make", [centre_map, edge_map])
def test_what_is_not_drawn_is_the_same_alone_and_in_a_batch(make) -> None:
    pictures = torch.rand(3, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([make(picture[None]) for picture in pictures])
    assert torch.allclose(make(pictures), alone, atol=1e-6)


def test_a_slanted_edge_is_as_strong_as_its_slope() -> None:
    """A plane that rises by .03 a column and .04 a row has the slope .05 everywhere."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = (0.04 * rows + 0.03 * columns).expand(1, 3, 8, 8)
    assert torch.allclose(edge_map(plane)[0, 1:-1, 1:-1], torch.tensor(0.05), atol=1e-6)


@pytest.mark.parametrize("make", [centre_map, edge_map, random_map])
def test_a_single_picture_is_told_of_its_batch_axis(make) -> None:
    with pytest.raises(ValueError, match=r"images must have the shape \(N, C, H, W\)"):
        make(torch.rand(3, 8, 8))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_twin_keeps_the_form_and_none_of_the_weights() -> None:
    net = load_model("minivgg-2")
    kept = {name: p.clone() for name, p in net.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)
    new = twin(net, pictures)
    assert not new.training
    for name, value in new.named_parameters():
        if "weight" in name and value.ndim > 1:
            assert not torch.equal(value, kept[name])
    assert all(torch.equal(p, kept[name]) for name, p in net.state_dict().items())
    again, other = twin(net, pictures), twin(net, pictures, seed=1)
    assert torch.equal(again.classifier.weight, new.classifier.weight)
    assert not torch.equal(other.classifier.weight, new.classifier.weight)


def test_a_twin_s_batch_statistics_are_those_of_the_pictures() -> None:
    """Every normalized channel has mean 0 and spread 1 over the pictures that were given, or is constant."""
    pictures = torch.rand(16, 3, 64, 64, generator=drawn())
    new = twin(load_model("minivgg"), pictures)
    for layer in ("features.1", "features.15"):
        values = features(new, pictures, layer)
        assert values.mean((0, 2, 3)).abs().max() < 5e-3
        assert (values.std((0, 2, 3)) - 1).abs().max() < 1e-2


def test_a_twin_uses_at_most_128_pictures() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    many = torch.cat([torch.zeros(128, 3, 2, 2), torch.ones(50, 3, 2, 2)])
    new = twin(net, many)
    assert torch.allclose(new[1].running_mean, new[0].bias, atol=1e-6)  # the ones came too late


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(3, 1, 1)), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x * self.scale, self.layer.weight)  # the layer itself never runs


def test_weights_without_a_layer_s_reset_and_those_read_by_hand_are_drawn() -> None:
    pictures, net = torch.rand(4, 3, 2, 2), Bare().eval()
    with pytest.warns(UserWarning, match="drawn from a normal distribution.*: scale"):
        new = twin(net, pictures)
    assert not torch.isclose(new.scale, net.scale).any()
    assert not torch.isclose(new.layer.weight, net.layer.weight).any()
    with pytest.raises(ValueError, match="pictures must be at least 2, better 128.*got 1"):
        twin(net, pictures[:1])
    with pytest.raises(RuntimeError, match="eval mode"):
        twin(net.train(), pictures)


@pytest.mark.parametrize("side", [(7, 7), (11, 11), (6, 8)])
def test_shuffled_phases_keep_the_spectrum_and_nothing_of_the_form(side: tuple[int, int]) -> None:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, s) for s in side], indexing="ij")
    grating = torch.cos(9 * x) * torch.exp(-3 * (x**2 + y**2))
    filters = torch.stack([torch.stack([grating, 0.5 * grating + 0.2, -grating]), torch.rand(3, *side)])
    new = phase_shuffled(filters)
    assert new.shape == filters.shape
    assert new.dtype == filters.dtype
    assert torch.allclose(torch.fft.fft2(new).abs(), torch.fft.fft2(filters).abs(), atol=1e-4)
    assert torch.allclose(new.mean((2, 3)), filters.mean((2, 3)), atol=1e-6)
    assert torch.allclose(new[0, 2], -new[0, 0], atol=1e-5)  # channels are turned alike
    alike = [
        torch.corrcoef(torch.stack([phase_shuffled(filters, generator=drawn(k))[0, 0], grating]).flatten(1))[
            0, 1
        ]
        for k in range(20)
    ]
    assert torch.stack(alike).abs().mean() < 0.5
    means = torch.rand(30, 2, *side, generator=drawn())
    assert torch.allclose(phase_shuffled(means).mean((2, 3)), means.mean((2, 3)), atol=1e-6)
    assert torch.equal(new, phase_shuffled(filters))
    assert not torch.equal(new, phase_shuffled(filters, generator=drawn(1)))
    with pytest.raises(ValueError, match=r"filters must have the shape \(K, C, h, w\)"):
        phase_shuffled(filters[0])


@pytest.mark.parametrize("n", [2, 3, 50])
def test_every_picture_gets_another_one_s_and_each_is_given_once(n: int) -> None:
    for seed in range(5):
        found = other_pictures(n, generator=drawn(seed))
        assert sorted(found.tolist()) == list(range(n))
        assert (found != torch.arange(n)).all()
    assert torch.equal(other_pictures(n), other_pictures(n))


def test_labels_deal_to_other_classes_and_mix_them() -> None:
    labels = torch.tensor([0] * 10 + [1] * 6 + [2] * 4)
    found = other_pictures(20, labels=labels)
    assert sorted(found.tolist()) == list(range(20))
    assert (labels[found] != labels).all()
    even = torch.arange(60) % 3
    given = even[other_pictures(60, labels=even)]
    assert {(int(a), int(b)) for a, b in zip(even, given, strict=True)} == {
        (a, b) for a in range(3) for b in range(3) if a != b
    }
    with pytest.raises(ValueError, match="11 of 20 are of one class"):
        other_pictures(20, labels=[0] * 11 + [1] * 9)
    with pytest.raises(ValueError, match=r"one class a picture \(20,\); got \(3,\)"):
        other_pictures(20, labels=[0, 1, 2])
    with pytest.raises(ValueError, match="n must be at least 2"):
        other_pictures(1)


def test_values_go_where_the_numbers_say() -> None:
    values = torch.arange(12.0).view(6, 2)
    assert torch.equal(of_another(values), values[other_pictures(6)])


@pytest.mark.parametrize("norm", ["2", "max"])
@pytest.mark.parametrize("kind", ["white", "smooth", "sign", "blocks"])
def test_noise_has_the_size_of_each_picture_s_change(kind: str, norm: str) -> None:
    changes = torch.randn(3, 3, 20, 28, generator=drawn()) * torch.tensor([0.1, 1.0, 0.0]).view(3, 1, 1, 1)
    noise = equal_norm_noise(changes, kind, norm=norm)

    def size(x: Tensor) -> Tensor:
        return x.flatten(1).norm(dim=1) if norm == "2" else x.abs().flatten(1).amax(1)

    assert torch.allclose(size(noise), size(changes), rtol=1e-4)
    assert torch.equal(noise, equal_norm_noise(changes, kind, norm=norm))
    rough = (noise[0, :, :, 1:] - noise[0, :, :, :-1]).abs().mean() / noise[0].abs().mean()
    assert rough > 0.8 if kind in ("white", "sign") else rough < 0.8
    if kind in ("sign", "blocks"):
        assert len(noise[0].abs().unique()) == 1
    if kind == "blocks":
        assert (noise[0, :, 0:2, 0:2] == noise[0, :, :1, :1]).all()


def test_noise_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of 'white', 'smooth', 'sign', 'blocks'"):
        equal_norm_noise(torch.rand(1, 3, 4, 4), "pink")
    with pytest.raises(ValueError, match="norm must be one of '2', 'max'"):
        equal_norm_noise(torch.rand(1, 3, 4, 4), norm="1")
    with pytest.raises(ValueError, match=r"changes must have the shape \(N, C, H, W\); got \(3, 4, 4\)"):
        equal_norm_noise(torch.rand(3, 4, 4))


def plane() -> Tensor:
    """Four hundred points on a ring in a plane of five dimensions, off the origin."""
    turn = torch.linspace(0, 6.283, 400)
    ring = torch.stack([3 * turn.cos(), turn.sin()], 1)
    return ring @ torch.tensor([[1.0, 0, 1, 0, 0], [0, 2, 0, 0, 0]]) + torch.tensor([5.0, 0, 0, 1, 0])


def test_a_matched_gaussian_has_the_mean_and_covariance_and_not_the_form() -> None:
    cloud = matched_gaussian(plane(), 20000)
    assert torch.allclose(cloud.mean(0), plane().mean(0), atol=0.1)
    assert torch.allclose(cloud.T.cov(), plane().T.cov(), rtol=0.05, atol=0.05)
    assert cloud[:, 3:].std(0).max() < 1e-5
    ring = (plane()[:, 0] - 5) ** 2 / 9 + plane()[:, 1] ** 2 / 4
    filled = (cloud[:, 0] - 5) ** 2 / 9 + cloud[:, 1] ** 2 / 4
    assert ring.std() < 1e-3 < filled.std()
    assert matched_gaussian(plane()).shape == (400, 5)
    few = torch.rand(4, 100)  # fewer pictures than dimensions
    assert torch.linalg.matrix_rank(matched_gaussian(few, 50) - few.mean(0), rtol=1e-4) == 3


def test_random_directions_lie_where_the_data_varies() -> None:
    found = random_directions(plane(), 2000)
    assert torch.allclose(found.norm(dim=1), torch.ones(2000), atol=1e-5)
    assert found[:, 3:].abs().max() < 1e-5
    assert torch.allclose(found[:, 0], found[:, 2], atol=1e-5)
    along = (found[:, 0] ** 2).mean() / (found[:, 1] ** 2).mean()
    assert along > 1.0  # the ring is longer there: variances 4.5 (twice) against 2
    with pytest.raises(ValueError, match="features must vary"):
        random_directions(torch.ones(5, 3), 1)


def test_a_random_subspace_is_orthonormal_and_within_the_data() -> None:
    basis = random_subspace(plane(), 2)
    assert torch.allclose(basis @ basis.T, torch.eye(2), atol=1e-5)
    centred = plane() - plane().mean(0)
    assert torch.allclose(centred @ basis.T @ basis, centred, atol=1e-4)  # two dimensions are all it has
    with pytest.raises(ValueError, match="dimensions that the features fill, 2; got 3"):
        random_subspace(plane(), 3)


def test_features_that_are_none_are_refused() -> None:
    for wrong in (torch.rand(5), torch.rand(1, 3), [1.0]):
        with pytest.raises(ValueError, match=r"features must have the shape \(N, D\)"):
            matched_gaussian(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="features must be finite"):
        random_directions(torch.full((3, 2), float("nan")), 1)


def test_raw_colours_of_places() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[:, 0, :4, 4:], images[:, 1, 6:, :2] = 1.0, 0.5
    coarse = colour_features(images, 2)
    assert coarse.shape == (1, 3, 2, 2)
    assert coarse[0, 0].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert coarse[0, 1, 1, 0] == pytest.approx(0.125)
    parts = colour_features(images, 2, patch=2)
    assert parts.shape == (1, 12, 2, 2)
    assert parts[0, 4:8, 1, 0].tolist() == [0.0, 0.0, 0.5, 0.0]  # the lower left part of the lower left cell
    with pytest.raises(ValueError, match="at most the picture's 8 pixels; got 4 x 3"):
        colour_features(images, 4, patch=3)


def test_positions_of_places() -> None:
    found = position_features(torch.rand(2, 3, 8, 8), 4)
    assert found.shape == (2, 2, 4, 4)
    assert found[1, 0, :, 2].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert found[0, 1, 3].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_random_projections_are_sums_after_a_relu_of_any_unit() -> None:
    maps = torch.rand(6, 4, 5, 5, generator=drawn())
    found = random_projections(maps, 300)
    assert found.shape == (6, 300, 5, 5)
    assert found.min() == 0
    assert torch.allclose(random_projections(maps * 7 - 3, 300), found, atol=1e-4)
    assert found.pow(2).mean() == pytest.approx(1.0, rel=0.2)  # half of the variance 2 of weights and biases
    constant = torch.cat([maps, torch.ones(6, 1, 5, 5)], 1)
    assert torch.isfinite(random_projections(constant, 3)).all()
    with pytest.raises(ValueError, match=r"maps must be finite and have the shape \(N, F, h, w\)"):
        random_projections(maps[0], 3)
