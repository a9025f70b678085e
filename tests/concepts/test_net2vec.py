"""Net2Vec against planted weights, brute force and scikit-learn; what cannot be asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.concepts import net2vec, net2vec_classification, net2vec_classification_result, net2vec_result
from labkit.concepts.concept_pixels import Pixels, fit_weights, pixels_of, strongest, unit_ious
from labkit.concepts.net2vec_pictures import logistic
from labkit.concepts.net2vec_segmentation import fewest, segmentation
from labkit.concepts.thresholds import thresholds_of, unit_thresholds

LABELS = (("thing", "a"), ("thing", "b"))


class Units(nn.Module):
    """Each channel of the picture is a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        return self.same(x)


def planted(n: int = 60, pixels: int = 64, units: int = 8, seed: int = 0) -> Pixels:
    """Units on by lot; concept a lies where units 0 or 1 are on and 2 is not, concept b where unit 5 is."""
    draw = torch.Generator().manual_seed(seed)
    on = torch.rand(n, pixels, units, generator=draw) < 0.3
    a = (on[..., 0] | on[..., 1]) & ~on[..., 2]
    label = torch.stack([a, on[..., 5]], 2)
    label[: n // 4, :, 1] = False
    return Pixels(on.to(torch.uint8), label, label.any(1))


def test_planted_weights_are_recovered() -> None:
    found = fit_weights(planted(), epochs=40)
    a, b = found
    assert set(a.abs().topk(3).indices.tolist()) == {0, 1, 2}
    assert a[0] > 0
    assert a[1] > 0
    assert a[2] < 0
    assert int(b.abs().argmax()) == 5
    assert b[5] > 0
    whole = segmentation(planted(), planted(seed=1), LABELS, few=(1, 3, 8), epochs=40)
    assert whole.iou.min() > 0.9
    assert whole.single.tolist()[1] == 5
    assert whole.single_iou[1] == pytest.approx(1.0)
    assert whole.single_iou[0] < 0.7  # one unit cannot say "or"
    assert whole.curve[0, 0] < whole.curve[1, 0] - 0.2
    assert whole.curve[2].tolist() == pytest.approx(whole.iou.tolist(), abs=0.08)
    assert whole.concepts_of(1)[5] == 1
    assert whole.units_of(0.5)[1] <= whole.units_of(0.5)[0]


def test_the_weights_make_the_loss_as_small_as_plain_descent_does() -> None:
    pixels = planted(12)
    pixels.label[..., 0] ^= (
        torch.rand(pixels.label.shape[:2], generator=torch.Generator().manual_seed(3)) < 0.2
    )
    pixels = Pixels(pixels.level, pixels.label, pixels.label.any(1))
    alpha = 1 - pixels.area

    def loss(weights):
        said = pixels.level.float() @ weights.T
        weigh = torch.where(pixels.label, alpha, 1 - alpha) * pixels.shown[:, None]
        each = weigh * F.binary_cross_entropy_with_logits(said, pixels.label.float(), reduction="none")
        return (each.sum((0, 1)) / (pixels.shown.sum(0) * each.shape[1]))[0]

    plain = torch.zeros(2, 8, requires_grad=True)
    solver = torch.optim.LBFGS([plain], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        value = loss(plain)
        value.backward()
        return value

    solver.step(closure)
    found = fit_weights(pixels, epochs=60)
    assert float(loss(found)) == pytest.approx(float(loss(plain.detach())), rel=5e-3)
    assert torch.allclose(found[0], plain.detach()[0], atol=0.25)


def test_the_iou_is_what_plain_counting_gives() -> None:
    pixels, weights = planted(9), torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    cut = torch.tensor([0.3, 0.6])
    said = (pixels.level.float() @ weights.T).sigmoid() > cut
    for c in range(2):
        there = pixels.shown[:, c]
        both = (said & pixels.label)[there][..., c].sum()
        either = (said | pixels.label)[there][..., c].sum()
        assert pixels.ious(weights, cut)[c] == pytest.approx(float(both / either))
        for unit in range(8):
            on = pixels.level[there][..., unit] > 0
            label = pixels.label[there][..., c]
            expected = float((on & label).sum() / (on | label).sum())
            assert unit_ious(pixels)[unit, c] == pytest.approx(expected)
    best = pixels.best_cut(weights)
    assert (pixels.ious(weights, best) >= pixels.ious(weights, 0.5) - 1e-6).all()


def test_pixels_are_the_maps_enlarged_and_then_cut() -> None:
    draw = np.random.default_rng(0)
    given = torch.from_numpy(draw.uniform(size=(5, 3, 6, 6))).float()
    maps = {"thing": draw.integers(0, 3, (5, 12, 12))}
    limits = torch.tensor([[0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    own = {"thresholds": limits, "maps": maps, "names": {"thing": ["a", "b"]}}
    whole = pixels_of(given, stride=1, **own)
    large = F.interpolate(given, size=(12, 12), mode="bilinear")
    expected = (large[:, None] > limits[None, :, :, None, None]).sum(1)
    assert torch.equal(whole.level.long(), expected.flatten(2).transpose(1, 2))
    assert torch.equal(whole.label[..., 1], torch.from_numpy(maps["thing"] == 2).flatten(1))
    thin = pixels_of(given, stride=4, **own)
    assert torch.equal(thin.level.long().transpose(1, 2), expected[:, :, 2::4, 2::4].flatten(2))


def test_thresholds_of_activations_are_those_of_dissection() -> None:
    images = torch.rand(7, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    images[:, 2] = 0.5
    shares = (0.02, 0.3)
    found = thresholds_of(images, shares)
    for share, row in zip(shares, found, strict=True):
        assert torch.equal(row, unit_thresholds(Units().eval(), images, layer="same", quantile=share))
    assert found[0, 2].isinf()


def scenes(n: int = 24):
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(n, 3, 16, 16, generator=draw)
    return images, {"thing": (images[:, 0] > 0.9).long().numpy()}, {"thing": ["red"]}


def test_it_is_asked_of_a_network_and_held_out_pictures() -> None:
    images, maps, names = scenes()
    given = {"layer": "same", "maps": maps, "names": names, "quantile": 0.1}
    found = net2vec_result(Units().eval(), images, few=(1, 2), tune=True, epochs=10, **given)
    assert found.labels == (("thing", "red"),)
    assert found.single.tolist() == [0]
    assert found.share.tolist() == pytest.approx([0.1])
    assert found.single_iou[0] > 0.99
    assert found.iou[0] > 0.8
    assert found.shown[0, 0] <= 16
    assert found.shown[1, 0] <= 8
    same = net2vec_result(Units().eval(), images, few=(1, 2), tune=True, epochs=10, **given)
    assert torch.equal(found.space, same.space)
    other = torch.Generator().manual_seed(9)
    assert not torch.equal(net2vec(Units().eval(), images, epochs=3, generator=other, **given), found.space)


def test_progress_goes_from_0_to_1() -> None:
    images, maps, names = scenes(8)
    seen: list[float] = []
    net2vec_result(
        Units().eval(), images, layer="same", maps=maps, names=names, quantile=0.1, few=(1,), epochs=2,
        progress=seen.append,
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_concept_that_no_picture_shows_has_no_vector_and_no_iou() -> None:
    images, maps, names = scenes()
    found = net2vec_result(
        Units().eval(), images, layer="same", maps=maps, names={"thing": ["red", "unseen"]}, quantile=0.1,
        epochs=2,
    )  # fmt: skip
    assert not found.space[1].any()
    assert found.iou[1].isnan()
    assert found.single_iou[1].isnan()
    assert found.units_of()[1] == 0


def test_the_fewest_units_are_read_off_the_curve() -> None:
    curve = torch.tensor([[0.1, 0.5, 0.0], [0.3, 0.5, 0.1], [0.4, 0.5, 0.2]])
    found = fewest((1, 5, 9), curve, torch.tensor([0.4, 0.5, 0.9]), 0.9)
    assert found.tolist() == pytest.approx([7.4, 1.0, float("inf")])


def test_the_strongest_are_by_size() -> None:
    assert strongest(torch.tensor([[0.1, -4.0, 3.0]]), 1).tolist() == [[False, True, False]]


def test_the_probe_is_scikit_learn_s_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(80, 5, generator=draw, dtype=torch.float64)
    positive = rows[:, 0] - rows[:, 1] + torch.randn(80, generator=draw, dtype=torch.float64) > 0.8
    found, bias = logistic(rows, positive, 0.05)
    theirs = LogisticRegression(C=1 / (0.05 * 80), class_weight="balanced", tol=1e-10, max_iter=1000)
    theirs.fit(rows.numpy(), positive.numpy())
    assert found.tolist() == pytest.approx(theirs.coef_[0].tolist(), abs=1e-4)
    assert bias == pytest.approx(float(theirs.intercept_[0]), abs=1e-4)


def test_whole_pictures_are_told_by_a_planted_unit() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(60, 3, 4, 4, generator=draw) * 0.5
    images[::2, 1] += 0.4
    maps = {"thing": np.zeros((60, 4, 4), int)}
    maps["thing"][::2, 1, 1] = 1
    found = net2vec_classification_result(
        Units().eval(), images, layer="same", maps=maps, names={"thing": ["bright"]}, few=(1, 3)
    )
    assert found.accuracy.tolist() == [1.0]
    assert found.single.tolist() == [1]
    assert found.single_accuracy.tolist() == [1.0]
    assert found.curve.flatten().tolist() == [1.0, 1.0]
    assert int(found.space[0].abs().argmax()) == 1
    plain = net2vec_classification(
        Units().eval(), images, layer="same", maps=maps, names={"thing": ["bright"]}
    )
    assert torch.equal(plain, found.space)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"maps": {}}, "maps must hold at least one kind"),
        ({"maps": {"thing": np.zeros((3, 4, 4))}}, r"must be \(N, H, W\) with a map a picture, N = 24"),
        ({"names": {"other": ["red"]}}, "names must name the labels of 'thing'"),
        ({"names": {"thing": []}}, "must hold 0 \\(none\\) to 0"),
        ({"quantile": 2.0}, "quantile"),
        ({"held_out": 0.0}, "held_out"),
        ({"few": (4,)}, "numbers of units from 1 to 3"),
        ({"epochs": 0}, "epochs"),
        ({"stride": 0}, "stride"),
    ],
)
def test_what_cannot_be_asked_is_said(changed, said) -> None:
    images, maps, names = scenes()
    given = {"layer": "same", "maps": maps, "names": names, **changed}
    with pytest.raises(ValueError, match=said):
        net2vec(Units().eval(), images, **given)


def test_too_little_is_said() -> None:
    images, maps, names = scenes()
    given = {"layer": "same", "names": names}
    with pytest.raises(ValueError, match="at least 2, to train on and to be scored on"):
        net2vec(Units().eval(), images[:1], maps={"thing": maps["thing"][:1]}, **given)
    nothing = {"thing": np.zeros_like(maps["thing"])}
    for way in (net2vec, net2vec_classification):
        with pytest.raises(ValueError, match="at least one concept both in pictures to train on"):
            way(Units().eval(), images, maps=nothing, **given)
    with pytest.raises(KeyError):
        net2vec(Units().eval(), images, maps=maps, names=names, layer="nowhere")
    with pytest.raises(ValueError, match="one a unit"):
        pixels_of(images, maps=maps, names=names, thresholds=torch.zeros(1, 5))
    with pytest.raises(ValueError, match="numbers of units from 1 to 3"):
        net2vec_classification(Units().eval(), images, maps=maps, few=(9,), **given)
