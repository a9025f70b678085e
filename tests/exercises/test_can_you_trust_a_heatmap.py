"""The references of notebook 25, held to answers known by hand and to other right ways of writing them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from labkit import evaluation
from labkit.checking.check import run_public
from labkit.checking.judge import Judge
from labkit.exercises import by_notebook, find
from labkit.grading import check


def reference(name):
    return find(f"evaluation.{name}").reference


def test_the_reverse_order_correlates_at_minus_one_and_a_swap_by_hand():
    a = torch.tensor([[[1.0, 2.0], [30.0, 400.0]]])
    assert float(reference("rank_correlation")(a, a.exp())) == pytest.approx(1)
    assert float(reference("rank_correlation")(a, -a)) == pytest.approx(-1)
    swapped = torch.tensor([[[2.0, 1.0], [3.0, 4.0]]])
    assert float(reference("rank_correlation")(a, swapped)) == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_a_curve_by_hand_rounds_to_the_nearest_count():
    class Mean(nn.Module):
        def forward(self, x):
            score = x.mean((1, 2, 3))
            return torch.stack([score, torch.zeros_like(score)], 1)

    image, values = torch.ones(1, 3, 1, 5), torch.tensor([[5.0, -9.0, 3.0, 2.0, 4.0]])
    curve = reference("deletion_curve")(Mean(), image, values, 0, 3, 0.0)  # 0, 1.67, 3.33 and 5 pixels
    left = torch.tensor([1.0, 0.6, 0.4, 0.0])
    torch.testing.assert_close(curve, left.sigmoid())


@pytest.mark.parametrize(
    ("tolerance", "hits"),
    [(1.9, [True, False, False]), (2.0, [True, True, False]), (3.0, [True, True, False])],
)
def test_peaks_on_a_mask_two_away_and_on_a_flat_map(tolerance, hits):
    maps, masks = torch.zeros(3, 4, 5), torch.zeros(3, 4, 5, dtype=torch.bool)
    maps[0, 3, 4], maps[1, 1, 2] = 1.0, 1.0
    masks[0, 3, 4], masks[1, 1, 4], masks[2, 0, 0] = True, True, True
    assert reference("pointing_hits")(maps, masks, tolerance).tolist() == hits


def test_the_gap_of_two_groups_by_hand():
    labels, groups = torch.zeros(4, dtype=torch.long), torch.tensor([7, 7, 7, 2])
    assert reference("worst_gap")(torch.tensor([0, 0, 0, 1]), labels, groups) == pytest.approx(0.75)


def test_the_cascade_is_the_librarys():
    for case in find("evaluation.cascade").public():
        net, method, images, target = case.args
        model, method = net.build(), method.build()
        maps, alike = reference("cascade")(model, method, images, target)
        done = evaluation.cascading_randomization(model, images, target, {"own": method})
        torch.testing.assert_close(maps, done.maps["own"])
        torch.testing.assert_close(alike.float(), done.rank_abs["own"].float())
        assert len({float(row.mean()) for row in alike}) == len(alike) == 3


def test_a_prediction_is_judged_as_the_library_does():
    for case in find("evaluation.prediction_holds").public():
        held = reference("prediction_holds")(*case.args)
        assert torch.equal(held, evaluation.falsification(*case.args).right)
        assert 6 <= int(held.sum()) <= 20


def library_curve(net, image, values, target, steps, fill):
    return evaluation.deletion(net.build(), image, values[None], target, steps=steps, fill=fill).curve[0]


LIBRARY = {
    "rank_correlation": evaluation.rank_correlation,
    "deletion_curve": library_curve,
    "pointing_hits": lambda x, m, reach: evaluation.pointing_hits(x, m, tolerance=reach / 12)[0],
    "worst_gap": lambda *args: torch.tensor(evaluation.accuracy_by_group(*args).gap),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_reference_is_the_librarys_method_on_every_case(name):
    judge = Judge(find(f"evaluation.{name}"), 5)
    for (_, case), expected in zip(judge.cases, judge.expected, strict=True):
        library = LIBRARY[name](*case.args)
        torch.testing.assert_close(library.double(), torch.as_tensor(expected).double(), rtol=1e-5, atol=1e-6)


def test_no_count_of_covered_pixels_lies_halfway():
    """Or Python's round, which goes to the even number, would differ from rounding up."""
    for _, case in Judge(find("evaluation.deletion_curve"), 3).cases:
        _, _, values, _, steps, _ = case.args
        assert all(2 * k * values.numel() % (2 * steps) != steps for k in range(steps + 1))


@pytest.mark.parametrize("exercise", by_notebook("can_you_trust_a_heatmap"), ids=lambda e: e.id)
@pytest.mark.parametrize("seed", [0, 1, 123456789])
def test_no_hidden_case_takes_one_mistake_for_another(exercise, seed):
    judge = Judge(exercise, seed)
    for wrong in exercise.misconceptions:
        assert judge.result(judge.mistakes(wrong)).misconception == wrong.name


def ranks(maps):
    return maps.flatten(1).argsort(1).argsort(1).float()


def by_distances(first, second):
    n = first[0].numel()
    return 1 - 6 * ((ranks(first) - ranks(second)) ** 2).sum(1) / (n * (n**2 - 1))


def by_corrcoef(first, second):
    pairs = zip(ranks(first), ranks(second), strict=True)
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])


def by_scipy(first, second):
    from scipy.stats import spearmanr

    return torch.tensor([spearmanr(a.flatten(), b.flatten())[0] for a, b in zip(first, second, strict=True)])


def from_the_top(first, second):
    a, b = (m.flatten(1).argsort(1, descending=True).argsort(1).double() for m in (first, second))
    return torch.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))


def curve_with(count, dtype=torch.float64):
    def own(model, image, values, target, steps, fill):
        order = torch.argsort(values.reshape(-1), descending=True)
        found, shown = [], image.clone()  # what is covered stays covered: one copy is enough
        for k in range(steps + 1):
            shown.view(3, -1)[:, order[: count(k, steps, order.numel())]] = fill
            found.append(model(shown).softmax(1)[0, target].to(dtype))
        return torch.stack(found)

    return own


def curve_at_once(model, image, values, target, steps, fill):
    place = values.flatten().argsort(descending=True).argsort().view(values.shape)
    counts = torch.linspace(0, values.numel(), steps + 1).round()
    shown = torch.where(place < counts[:, None, None, None], torch.tensor(fill).to(image), image)
    return torch.softmax(model(shown), dim=-1)[:, target]


def hits_at_once(maps, masks, tolerance):
    height, width = maps.shape[1:]
    peak = maps.flatten(1).argmax(1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    far = (rows - (peak // width)[:, None, None]) ** 2 + (columns - (peak % width)[:, None, None]) ** 2
    near = (far.float().sqrt() <= tolerance) & masks
    return near.flatten(1).any(1) & (maps.amax((1, 2)) != maps.amin((1, 2)))


def hits_by_cdist(maps, masks, tolerance):
    found = []
    for values, mask in zip(maps, masks, strict=True):
        peak = torch.stack(torch.unravel_index(values.argmax(), values.shape))
        far = torch.cdist(mask.nonzero().float(), peak[None].float()).min()
        found.append(bool(far <= tolerance and values.std() > 0))
    return torch.tensor(found)


def hits_by_hypot(maps, masks, tolerance):
    found = []
    for values, mask in zip(maps, masks, strict=True):
        row, column = (values == values.max()).nonzero()[0].tolist()
        far = min(math.hypot(r - row, c - column) for r, c in mask.nonzero().tolist())
        found.append(far <= tolerance and len(values.unique()) > 1)
    return torch.tensor(found)


def gap_of_errors(predictions, labels, groups):
    wrong = (predictions != labels).float()
    return max(wrong[groups == g].mean() for g in set(groups.tolist())) - wrong.mean()


def gap_at_once(predictions, labels, groups):
    right = (predictions == labels).double()
    _, place = groups.unique(return_inverse=True)
    return right.mean() - (place.bincount(right) / place.bincount()).min()


def cascade_step_by_step(model, method, images, target):
    names, maps, alike = list(reversed(evaluation.execution_order(model, images))), [], []
    for depth in range(len(names) + 1):
        network = evaluation.randomized(model, names[:depth], images) if depth else model
        maps += [method(network, images, target)]
        alike += [evaluation.rank_correlation(maps[0], maps[-1], absolute=True).to(images.dtype)]
    return torch.stack(maps), torch.stack(alike[1:])


def holds_in_loops(maps, parts, without, control):
    found = []
    for values, regions, gone, beside in zip(maps, parts, without, control, strict=True):
        light = [float(values[region].relu().mean()) for region in regions]
        drops = (beside - gone).tolist()
        best = max(range(len(drops)), key=drops.__getitem__)
        found.append(light[best] == max(light) > 0 and drops[best] > 0)
    return torch.tensor(found)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("cascade", cascade_step_by_step),
        ("prediction_holds", holds_in_loops),
        ("rank_correlation", by_distances),
        ("rank_correlation", by_corrcoef),
        ("rank_correlation", by_scipy),
        ("rank_correlation", from_the_top),
        ("deletion_curve", curve_with(lambda k, steps, n: round(k / steps * n))),
        ("deletion_curve", curve_with(lambda k, steps, n: round(k * n / steps), torch.float32)),
        ("deletion_curve", curve_with(lambda k, steps, n: int(torch.round(torch.tensor(k / steps * n))))),
        ("deletion_curve", curve_with(lambda k, steps, n: (2 * k * n + steps) // (2 * steps))),
        ("deletion_curve", curve_with(lambda k, steps, n: math.floor(k / steps * n + 0.5))),
        ("deletion_curve", curve_at_once),
        ("pointing_hits", hits_at_once),
        ("pointing_hits", hits_by_cdist),
        ("pointing_hits", hits_by_hypot),
        ("worst_gap", gap_of_errors),
        ("worst_gap", gap_at_once),
    ],
)
def test_another_right_way_of_writing_it_gets_all_points(name, own):
    exercise = find(f"evaluation.{name}")
    assert check(exercise.id, own) == exercise.points


def gap_over(numbers):
    def own(predictions, labels, groups):
        right = (predictions == labels).float()
        return right.mean() - torch.stack([right[groups == g].mean() for g in numbers(groups)]).min()

    return own


def gap_by_pythons_min(predictions, labels, groups):
    right = (predictions == labels).float()
    return right.mean().item() - min(right[groups == g].mean().item() for g in range(groups.max() + 1))


def hits_on_the_mask(maps, masks, tolerance):
    peaks = maps.flatten(1).argmax(1, keepdim=True)
    return masks.flatten(1).gather(1, peaks)[:, 0]


@pytest.mark.parametrize(
    ("name", "own", "hint"),
    [
        ("worst_gap", gap_by_pythons_min, "their mean is NaN"),
        ("worst_gap", gap_over(lambda groups: range(groups.max() + 1)), "their mean is NaN"),
        ("worst_gap", gap_over(lambda groups: range(len(groups.unique()))), "their mean is NaN"),
        ("worst_gap", gap_over(lambda groups: groups.unique()[:-1]), "The last group is left out"),
        ("pointing_hits", hits_on_the_mask, "within the tolerance is near enough. And a flat map misses"),
    ],
)
def test_what_once_passed_or_got_no_word_is_told(name, own, hint):
    assert hint in run_public(find(f"evaluation.{name}"), own).hint
