"""Yosinski's four regularizers, each exactly on a small picture, and diversity on two Gram matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.optimize import Regularizers, clip_contributions, clip_norms, diversity, gaussian_blur

ROW = torch.tensor([[[[0.5, 0.625, 0.75, 0.5]], [[0.5, 0.5, 0.5, 0.25]]]])  # norms 0, 1/8, 1/4, 1/4
SLOPE = torch.tensor([[[[9.0, 9.0, 1.0, -1.0]], [[9.0, 0.0, 1.0, 2.0]]]])  # contributions 0, 9/8, 1/4, 1/2


def test_decay_leads_towards_grey() -> None:
    found = Regularizers(decay=0.1)(ROW, SLOPE, 0)
    assert torch.allclose(found - 0.5, 0.9 * (ROW - 0.5))


def test_blur_acts_every_few_steps() -> None:
    regular, images = Regularizers(blur=1.0, blur_every=3), torch.rand(1, 2, 6, 6)
    for step in range(6):
        found = regular(images, images, step)
        assert torch.equal(found, gaussian_blur(images, 1.0) if step in (2, 5) else images)


@pytest.mark.parametrize(("share", "grey"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 2), (1.0, 2)])
def test_small_norms_become_grey(share: float, grey: int) -> None:
    found = clip_norms(ROW, share)  # two pixels tie for the largest norm, and stay
    assert int((found == 0.5).all(1).sum()) == max(grey, 1)
    assert torch.equal(found[..., 2:], ROW[..., 2:])


@pytest.mark.parametrize(("share", "kept"), [(0.25, [1, 2, 3]), (0.5, [1, 3]), (0.75, [1]), (1.0, [1])])
def test_small_contributions_become_grey(share: float, kept: list[int]) -> None:
    found = clip_contributions(ROW, SLOPE, share)
    for place in range(4):
        assert torch.equal(
            found[..., place], ROW[..., place] if place in kept else torch.full((1, 2, 1), 0.5)
        )


def test_pictures_are_clipped_each_by_itself() -> None:
    images = torch.cat([ROW, (ROW - 0.5) / 100 + 0.5])
    together = clip_norms(images, 0.5)
    assert torch.equal(together, torch.cat([clip_norms(images[:1], 0.5), clip_norms(images[1:], 0.5)]))


def test_all_four_come_in_their_order() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    slope = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = Regularizers(0.1, 1.0, 2, 0.3, 0.2)(images, slope, 1)
    by_hand = gaussian_blur(0.5 + 0.9 * (images - 0.5), 1.0)
    assert torch.allclose(found, clip_contributions(clip_norms(by_hand, 0.3), slope, 0.2))


def gram_cosine(a: Tensor, b: Tensor) -> Tensor:
    first, second = ((m.flatten(1) @ m.flatten(1).T).flatten() for m in (a, b))
    return first @ second / first.norm() / second.norm()


def test_diversity_is_the_mean_cosine_of_gram_matrices() -> None:
    features = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    pairs = [gram_cosine(features[i], features[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert diversity(features) == pytest.approx(float(sum(pairs)) / 3)
    apart = torch.zeros(2, 2, 1, 1)
    apart[0, 0] = apart[1, 1] = 1.0
    assert diversity(apart) == 0
    assert diversity(apart[:1]) == 0
    assert diversity(torch.zeros(2, 2, 1, 1)) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decay": 1.5}, "decay must be a number from 0 to 1"),
        ({"blur": -1}, "blur must be a number of at least 0"),
        ({"blur_every": 0}, "blur_every must be"),
        ({"clip_norm": 30}, "clip_norm must be a number from 0 to 1"),
        ({"clip_contribution": float("nan")}, "clip_contribution must be"),
    ],
)
def test_bad_regularizers_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Regularizers(**options).check()
