"""LIME and KernelSHAP on superpixels against models solved by hand, scikit-learn, Captum, all coalitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn

from labkit.attribution import (
    kernel_shap,
    kernel_shap_result,
    lime,
    lime_result,
    shapley_values,
    superpixels,
)
from labkit.optimize.images import filling

RESULTS = [lime_result, kernel_shap_result]


def quarters(side: int = 8, cells: int = 2) -> Tensor:
    """A grid of cells x cells superpixels."""
    place = torch.arange(side) * cells // side
    return place[:, None] * cells + place


class OfMeans(nn.Module):
    """Scores that depend on the superpixels' mean brightness only: linear, or with an interaction."""

    def __init__(self, segments: Tensor, weights: Tensor, *, bend: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("segments", segments)
        self.weights = nn.Parameter(weights.double())
        self.bend = bend
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        cells = [x[:, :, self.segments == label].mean((1, 2)) for label in self.segments.unique()]
        means = torch.stack(cells, 1)
        score = means @ self.weights + self.bend * means[:, 0] * means[:, 1] + 0.25
        return torch.stack([score, -score], 1)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        total = x.square().sum((1, 2, 3))
        return torch.stack([total, -total], 1)


def linear(cells: int = 3, *, bend: float = 0.0) -> tuple[OfMeans, Tensor, Tensor, Tensor]:
    """A model, a picture, its superpixels, and what each contributes against grey."""
    segments = quarters(12, cells)
    weights = torch.randn(cells**2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    images = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    means = torch.stack([images[0, :, segments == label].mean() for label in range(cells**2)])
    return OfMeans(segments, weights, bend=bend), images, segments, weights * (means - 0.5)


def on_or_off(model: nn.Module, images: Tensor, segments: Tensor, fill: str = "grey"):
    """The game that KernelSHAP plays, written once more without gathering."""
    reference = filling(images, fill)

    def value(coalitions: Tensor) -> Tensor:
        copies = []
        for row in coalitions:
            copy = reference[0].clone()
            for label in torch.nonzero(row)[:, 0]:
                copy[:, segments == label] = images[0][:, segments == label]
            copies.append(copy)
        return model(torch.stack(copies)).detach()[:, 0]

    return value


# superpixels


@pytest.mark.parametrize("side", [4, 8, 12, 16, 32, 64, 128])
@pytest.mark.parametrize("kind", ["noise", "smooth", "flat", "halves"])
def test_superpixels_are_many_at_every_side(side: int, kind: str) -> None:
    ramp = torch.linspace(0, 1, side)
    picture = {
        "noise": torch.rand(3, side, side, generator=torch.Generator().manual_seed(0)),
        "smooth": torch.stack([ramp[:, None] * ramp, ramp.flip(0)[:, None] * ramp, ramp.expand(side, -1)]),
        "flat": torch.full((3, side, side), 0.5),
        "halves": (ramp < 0.5).float().expand(3, side, -1),
    }[kind]
    segments = superpixels(picture[None])
    assert segments.shape == (1, side, side)
    assert segments.dtype == torch.int64
    number, wanted = int(segments.max()) + 1, round(4 * side**0.5)
    assert torch.equal(segments.unique(), torch.arange(number))
    assert wanted / 2 <= number <= max(2 * wanted, 4)
    assert segments.flatten().bincount().max() <= 4 * side**2 / wanted


def test_superpixels_follow_an_edge() -> None:
    images = torch.zeros(1, 3, 32, 32)
    images[..., 13:] = 1  # on no line of a regular grid
    segments = superpixels(images)[0]
    assert not set(segments[:, :13].unique().tolist()) & set(segments[:, 13:].unique().tolist())
    for channels in (1, 5):  # colour distances are those of the same picture in grey
        assert torch.equal(superpixels(images[:, :1].expand(-1, channels, -1, -1))[0], segments)
    faint = (0.45 + 0.1 * images)[:, :1]
    assert torch.equal(superpixels(faint), superpixels(faint.expand(-1, 3, -1, -1)))


def test_superpixels_are_the_same_every_time_and_touch_no_random_state() -> None:
    images = pictures("inplace", 3)
    before = str(np.random.get_state())
    one = superpixels(images)
    assert torch.equal(one, superpixels(images))
    assert torch.equal(one, superpixels(images.double()))
    assert torch.equal(one, torch.cat([superpixels(image[None]) for image in images]))
    assert str(np.random.get_state()) == before


def test_superpixels_take_a_count_and_any_channels_and_shape() -> None:
    few, many = (int(superpixels(torch.rand(1, 3, 32, 32), count=n).max()) + 1 for n in (4, 100))
    assert few < many
    assert int(superpixels(torch.rand(1, 1, 32, 32)).max()) >= 8
    assert int(superpixels(torch.rand(1, 5, 20, 32)).max()) >= 8
    assert superpixels(torch.rand(1, 3, 10, 40)).shape == (1, 10, 40)


# LIME


def test_lime_finds_the_exact_weights_of_a_linear_model() -> None:
    model, images, segments, parts = linear()
    result = lime_result(model, images, 0, segments=segments, samples=100, alpha=0.0)
    assert torch.allclose(result.weights[0], parts, rtol=0, atol=1e-10)
    grey = model(torch.full_like(images, 0.5))[0, 0].detach()
    assert float(result.intercept[0] - grey) == pytest.approx(0, abs=1e-10)
    assert float(result.fidelity[0]) == pytest.approx(1)
    assert torch.equal(result.map[0], result.weights[0][segments])
    other = lime_result(model, images, 1, segments=segments, samples=100, alpha=0.0)
    assert torch.allclose(other.weights[0], -parts, rtol=0, atol=1e-10)


def test_lime_ranks_the_parts_of_a_linear_model_at_its_defaults() -> None:
    model, images, segments, parts = linear()
    found = lime_result(model, images, 0, segments=segments).weights[0]
    assert torch.equal(found.argsort(), parts.argsort())
    assert (found.sign() == parts.sign()).all()


def masks_of(model: nn.Module, images: Tensor, segments: Tensor, **options) -> tuple[Tensor, Tensor]:
    """The samples that LIME drew, read off the pictures that the model met, and their scores."""
    spy = Counts()
    lime(spy, images, 0, segments=segments, **options)
    met = torch.cat(spy.seen[1:])  # the first call is the whole picture's
    kept = (met == images[0]).all(1)
    first = [torch.nonzero(segments.flatten() == label)[0, 0] for label in segments.unique()]
    return kept.flatten(1)[:, torch.stack(first)], model(met).detach()[:, 0]


@pytest.mark.parametrize(("alpha", "width"), [(1.0, 0.25), (0.01, 0.25), (30.0, 0.6)])
def test_lime_equals_the_ridge_of_scikit_learn(alpha: float, width: float) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import pairwise_distances

    model, images, segments, _ = linear(bend=5.0)
    kept, scores = masks_of(model, images, segments, samples=60)
    assert kept[0].all()
    distance = pairwise_distances(kept.double().numpy(), np.ones((1, 9)), metric="cosine")[:, 0]
    near = np.sqrt(np.exp(-(distance**2) / width**2))
    ridge = Ridge(alpha=alpha).fit(kept.double().numpy(), scores.numpy(), sample_weight=near)
    result = lime_result(model, images, 0, segments=segments, samples=60, alpha=alpha, kernel_width=width)
    assert result.weights[0].numpy() == pytest.approx(ridge.coef_, abs=1e-10)
    assert float(result.intercept[0]) == pytest.approx(ridge.intercept_, abs=1e-10)
    fidelity = ridge.score(kept.double().numpy(), scores.numpy(), sample_weight=near)
    assert float(result.fidelity[0]) == pytest.approx(fidelity, abs=1e-10)
    assert fidelity < 1 - 1e-6


def test_lime_equals_captum_on_the_same_samples() -> None:
    captum = pytest.importorskip("captum.attr")
    from captum._utils.models.linear_model import SkLearnRidge

    model, images, segments, _ = linear(bend=5.0)
    kept, _ = masks_of(model, images, segments, samples=60)
    rows = iter(kept)

    def near(_original: Tensor, _copy: Tensor, row: Tensor, **_: object) -> Tensor:
        distance = 1 - nn.functional.cosine_similarity(row.double(), torch.ones_like(row.double()))
        return torch.exp(-((distance / 0.25) ** 2) / 2)

    base = captum.LimeBase(
        model, SkLearnRidge(alpha=1.0), near, lambda *_, **__: next(rows)[None].double(), True,
        lambda row, x, **_: torch.where(row.bool()[0][segments], x, 0.5), None,
    )  # fmt: skip
    expected = base.attribute(images, target=0, n_samples=60)[0]
    found = lime_result(model, images, 0, segments=segments, samples=60).weights[0]
    assert torch.allclose(found, expected.double(), rtol=1e-4, atol=1e-6)  # it stores scores in float32


def test_lime_s_first_sample_is_the_picture_and_the_rest_are_fair_coins() -> None:
    model, images, segments, _ = linear()
    kept, _ = masks_of(model, images, segments, samples=2000)
    assert len(kept) == 2000
    assert kept[0].all()
    share = kept[1:].double().mean(0)
    assert ((share - 0.5).abs() < 5 * 0.5 / 2000**0.5).all()


def test_lime_s_kernel_looks_at_superpixels_not_at_pixels() -> None:
    """A model and its picture with all superpixels of one size, or of very different ones: the same fit."""
    equal = quarters(12, 2)
    uneven = torch.zeros(12, 12, dtype=torch.int64)
    uneven[0, 0], uneven[0, 1], uneven[0, 2] = 1, 2, 3
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5])
    found = []
    for segments in (equal, uneven):
        images = (0.1 + 0.2 * segments).double().expand(1, 3, 12, 12).contiguous()
        model = OfMeans(segments, weights, bend=4.0)
        found.append(lime_result(model, images, 0, segments=segments, samples=40))
    assert torch.allclose(found[0].weights[0], found[1].weights[0], rtol=0, atol=1e-10)
    assert float(found[0].fidelity - found[1].fidelity) == pytest.approx(0, abs=1e-10)


def test_lime_is_not_all_zero_where_the_score_barely_moves() -> None:
    """A lasso at its usual penalty returns zeros for scores of this size."""
    model, images, segments, parts = linear()
    model.weights.data *= 1e-4
    found = lime_result(model, images, 0, segments=segments).weights[0]
    assert (found != 0).all()
    assert torch.equal(found.argsort(), parts.argsort())


# KernelSHAP


@pytest.mark.parametrize("fill", ["grey", "black", "mean", "blur"])
def test_kernel_shap_equals_the_shapley_values_where_all_fit(fill: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Tanh(), nn.Linear(8, 2)).double().eval()
    _, images, segments, _ = linear()
    expected = shapley_values(on_or_off(model, images, segments, fill), 9)
    result = kernel_shap_result(model, images, 0, segments=segments, samples=512, fill=fill)
    assert torch.allclose(result.weights[0], expected, rtol=0, atol=1e-8)
    assert torch.equal(result.map[0], result.weights[0][segments])


@pytest.mark.parametrize("name", ["inplace", "max pools", "transformer", "float64"])
def test_kernel_shap_sums_to_the_score_minus_that_of_the_fill(name: str) -> None:
    model, images = build(name), pictures(name, 3).to(next(build(name).parameters()).dtype)
    result = kernel_shap_result(model, images, 2, samples=80)
    with torch.no_grad():
        whole, grey = model(images)[:, 2], model(torch.full_like(images, 0.5))[:, 2]
    sums = torch.stack([own.sum() for own in result.weights])
    assert torch.allclose(result.intercept, grey, rtol=1e-5, atol=1e-6)
    assert torch.allclose(result.intercept + sums, whole, rtol=1e-5, atol=1e-6)


def test_kernel_shap_solves_a_linear_model_by_any_sample() -> None:
    model, images, segments, parts = linear(4)
    found = kernel_shap_result(model, images, 0, segments=segments, samples=34)
    assert torch.allclose(found.weights[0], parts, rtol=0, atol=1e-10)
    assert float(found.fidelity[0]) == pytest.approx(1)


def test_lime_and_kernel_shap_differ_where_superpixels_interact() -> None:
    model, images, segments, _ = linear(bend=20.0)
    exact = shapley_values(on_or_off(model, images, segments), 9)
    by_lime = lime_result(model, images, 0, segments=segments, alpha=0.0).weights[0]
    assert not torch.allclose(by_lime, exact, rtol=0, atol=1e-3)


# both


@pytest.mark.parametrize("method", RESULTS)
def test_the_parts_of_the_result_fit_together(method) -> None:
    model, images = build("inplace"), torch.cat([pictures("inplace", 1), torch.full((1, 3, 32, 32), 0.2)])
    result = method(model, images, 1, samples=120)
    assert torch.equal(result.segments, superpixels(images))
    assert [len(w) for w in result.weights] == [int(own.max()) + 1 for own in result.segments]
    for maps, places, weights in zip(result.map, result.segments, result.weights, strict=True):
        assert torch.equal(maps, weights[places])
    assert result.intercept.shape == result.fidelity.shape == (2,)
    assert not any(part.requires_grad for part in (result.map, result.intercept, *result.weights))


@pytest.mark.parametrize("method", RESULTS)
def test_the_seed_decides(method) -> None:
    model, images = build("inplace"), pictures("inplace")
    seeded = lambda seed: torch.Generator().manual_seed(seed)  # noqa: E731
    first = method(model, images, 1, samples=90).map
    assert torch.equal(first, method(model, images, 1, samples=90).map)
    assert torch.equal(first, method(model, images, 1, samples=90, generator=seeded(0)).map)
    assert not torch.allclose(first, method(model, images, 1, samples=90, generator=seeded(1)).map)
    generator = seeded(0)
    method(model, images, 1, samples=90, generator=generator)
    assert not torch.allclose(first, method(model, images, 1, samples=90, generator=generator).map)


@pytest.mark.parametrize("method", RESULTS)
def test_masked_pictures_go_in_batches(method) -> None:
    model, (_, images, segments, _) = Counts(), linear()
    answers = []
    for size in (1, 7, 32):
        model.seen.clear()
        answers.append(method(model, images, 0, segments=segments, samples=50, batch_size=size).map)
        assert max(len(x) for x in model.seen) == size
        assert sum(len(x) for x in model.seen) <= 51
        assert len(model.seen) <= 1 + -(-50 // size)
    assert torch.allclose(answers[0], answers[1])
    assert torch.allclose(answers[0], answers[2])


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_segments_may_be_one_for_all_and_bear_any_numbers(method) -> None:
    model, images = build("inplace"), pictures("inplace")
    segments = quarters(32, 4)
    expected = method(model, images, 1, segments=segments, samples=60)
    assert torch.equal(expected, method(model, images, 1, segments=segments.expand(2, -1, -1), samples=60))
    assert torch.equal(expected, method(model, images, 1, segments=segments * 3 - 7, samples=60))
    assert torch.equal(expected, method(model, images, 1, segments=segments.to(torch.uint8), samples=60))


@pytest.mark.parametrize("method", RESULTS)
def test_a_constant_model_gives_zeros_and_full_fidelity(method) -> None:
    result = method(build("dead"), pictures("dead"), 1, samples=80)
    assert not result.map.any()
    assert torch.equal(result.fidelity, torch.ones(2))


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_refuses_illegal_segments(method) -> None:
    model, images = build("inplace"), pictures("inplace")
    with pytest.raises(TypeError, match=r"segments must be a tensor of whole numbers; got ndarray"):
        method(model, images, 1, segments=np.zeros((32, 32), int))
    with pytest.raises(TypeError, match=r"whole numbers; got torch\.float32"):
        method(model, images, 1, segments=torch.zeros(32, 32))
    with pytest.raises(TypeError, match=r"whole numbers; got torch\.bool"):
        method(model, images, 1, segments=torch.zeros(32, 32) > 0)
    with pytest.raises(ValueError, match=r"\(2, 32, 32\) or \(32, 32\); got \(3, 32, 32\)"):
        method(model, images, 1, segments=quarters(32).expand(3, -1, -1))
    with pytest.raises(ValueError, match="at least 2 superpixels; got 1"):
        method(model, images, 1, segments=torch.zeros(32, 32, dtype=torch.int64))


def test_refuses_illegal_numbers() -> None:
    model, images, segments = build("inplace"), pictures("inplace"), quarters(32, 4)
    for options, sentence in (
        ({"samples": 16}, r"more than the number of superpixels \(16\); got 16.*samples=320"),
        ({"samples": 0}, "samples must be a whole number"),
        ({"kernel_width": 0}, "kernel_width must be a number above 0"),
        ({"alpha": -1}, "alpha must be a number of at least 0; got -1"),
        ({"alpha": float("nan")}, "alpha must be a number of at least 0"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"fill": "gray"}, "Did you mean 'grey'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            lime(model, images, 1, segments=segments, **options)
    with pytest.raises(ValueError, match=r"samples must be at least 34 for 16 players.*got 33"):
        kernel_shap(model, images, 1, segments=segments, samples=33)
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        kernel_shap(model, images, 1, segments=segments, batch_size=0)
    with pytest.raises(ValueError, match="count must be a whole number"):
        superpixels(images, count=0)
    with pytest.raises(ValueError, match=r"at most the number of pixels \(1024\); got 1025"):
        superpixels(images, count=1025)
    with pytest.raises(TypeError, match="uint8"):
        superpixels((images * 255).to(torch.uint8))
