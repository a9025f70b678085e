"""The references of notebook 13, held to answers known by hand and to the library's own methods."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from labkit import optimize
from labkit.exercises import find
from labkit.grading import check
from labkit.visualization import visualize
from labkit.visualization.facets import k_means


def reference(name):
    return find(f"visualization.{name}").reference


def test_an_ascent_of_a_line_by_hand():
    slope = torch.tensor([3.0, -4.0]).view(1, 1, 1, 2)
    grey = torch.full((1, 1, 1, 2), 0.5)
    found = reference("ascend")(lambda x: (x * slope).sum((1, 2, 3)), grey, 1, 0.1, 0.2, torch.relu, 9)
    step = 0.1 * slope / 12.5**0.5  # the root of the mean of 9 and 16
    torch.testing.assert_close(found, 0.5 + 0.8 * step)
    assert not found.requires_grad


def test_the_ascent_is_the_library_s_but_for_its_momentum():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 2)).double().eval()
    start = torch.full((1, 3, 6, 6), 0.5).double()

    def blur(x):
        return optimize.gaussian_blur(x, 1.0)

    own = reference("ascend")(lambda x: net(x)[:, 1], start, 4, 0.02, 0.1, blur, 2)
    plain = {"space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0}
    library = visualize(net, 1, start=start, steps=4, rate=0.02, decay=0.1, blur=1.0, blur_every=2, **plain)
    torch.testing.assert_close(own, library)  # of a constant gradient the mean is the gradient


def test_jitter_by_hand():
    picture = torch.arange(6.0).view(1, 1, 2, 3)
    seen = []
    reference("jittered")(lambda x: seen.append(x) or x.sum((1, 2, 3)), picture, 1, -1)
    assert seen[0].flatten().tolist() == [4, 5, 3, 1, 2, 0]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_clipping_is_the_library_s(share):
    draw = torch.Generator().manual_seed(0)
    images, slope = torch.rand(2, 3, 5, 5, generator=draw), torch.randn(2, 3, 5, 5, generator=draw)
    found = reference("clip_contributions")(images, slope, share)
    torch.testing.assert_close(found, optimize.clip_contributions(images, slope, share))


def test_diversity_is_the_library_s_and_one_for_equals():
    features = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reference("diversity_loss")(features), optimize.diversity(features))
    assert reference("diversity_loss")(features[:1].expand(3, -1, -1, -1)) == pytest.approx(1, abs=1e-6)


def test_starts_are_means_and_the_clusters_k_means():
    draw = torch.Generator().manual_seed(0)
    middles = 9 * torch.eye(3, 4)
    points = middles.repeat(5, 1) + torch.randn(15, 4, generator=draw)
    pictures = torch.rand(15, 3, 4, 4, generator=draw)
    found = reference("facet_starts")(points, pictures, points[:3], 10)
    for k in range(3):
        torch.testing.assert_close(found[k], pictures[k::3].mean(0))
    centres = k_means(points, 3).centres
    again = reference("facet_starts")(points, pictures, centres, 1)
    assert sorted(again.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(found.sum((1, 2, 3)).tolist()))


def test_a_reader_by_hand():
    shown, first = torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.1], [0.0, 9.0], [1.0, 1.0]])
    second = torch.tensor([[9.0, 9.0], [1.0, 9.0], [0.0, 1.0]])  # guesses: first, second, first
    drives = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    assert reference("reader")(shown, first, second, *drives) == pytest.approx(2 / 3)


def other_ascend(score, images, steps, rate, decay, blur, every):
    x = images.clone()
    for count in range(1, steps + 1):
        x = x.detach().clone().requires_grad_(True)
        score(x).mean().backward()
        x = x.detach() + rate * x.grad / x.grad.pow(2).flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)
        x = x - decay * (x - 0.5)
        if count % every == 0:
            x = blur(x)
        x = x.clip(0, 1)
    return x


def other_jittered(score, images, down, right):
    return score(torch.roll(torch.roll(images, down, 2), right, 3))


def other_clip_contributions(images, gradient, share):
    out = images.clone()
    for n in range(len(images)):
        does = ((images[n] - 0.5) * gradient[n]).sum(0).abs()
        out[n][:, does < does.flatten().quantile(share)] = 0.5
    return out


def other_diversity_loss(features):
    n, k = features.shape[:2]
    flat = features.reshape(n, k, -1)
    grams = torch.einsum("nkp,nlp->nkl", flat, flat).reshape(n, -1)
    likeness = F.cosine_similarity(grams[:, None], grams[None], dim=2)
    return likeness[~torch.eye(n, dtype=torch.bool)].mean()


def other_facet_starts(points, pictures, centres, steps):
    for _ in range(steps):
        away = ((points[:, None] - centres[None]) ** 2).sum(2)
        member = F.one_hot(away.argmin(1), len(centres)).to(points.dtype)
        centres = member.T @ points / member.sum(0)[:, None]
    return torch.einsum("nk,nchw->kchw", member, pictures) / member.sum(0).view(-1, 1, 1, 1)


def other_reader(shown, first, second, drive_first, drive_second):
    near = [F.normalize(side, dim=1) @ F.normalize(shown, dim=0) for side in (first, second)]
    return ((near[0] - near[1]) * (drive_first - drive_second) > 0).to(shown.dtype).mean()


@pytest.mark.parametrize(
    "own",
    [
        other_ascend,
        other_jittered,
        other_clip_contributions,
        other_diversity_loss,
        other_facet_starts,
        other_reader,
    ],
)
def test_another_right_way_of_writing_it_gets_all_points(own):
    exercise = find("visualization." + own.__name__.removeprefix("other_"))
    assert check(exercise.id, own) == exercise.points
