"""Regularizers of made pictures: Yosinski's decay, blur and two clippings, and diversity in a batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_fraction, check_positive, check_weight
from labkit.optimize.images import gaussian_blur

__all__ = ["GREY", "Regularizers", "clip_contributions", "clip_norms", "diversity"]

GREY = 0.5  # what stands for zero in a picture of 0 to 1


def _cleared(images: Tensor, sizes: Float[Tensor, "N H W"], share: float) -> Tensor:
    """Pictures with their places of small size grey: those below the quantile ``share`` of all places."""
    if share == 0:
        return images
    # by rank, for torch.quantile refuses more than 16 million numbers
    ordered = sizes.flatten(1).sort(1).values
    least = ordered[:, min(int(share * ordered.shape[1]), ordered.shape[1] - 1)]
    return torch.where((sizes < least[:, None, None])[:, None], GREY, images)


def clip_norms(images: Float[Tensor, "N C H W"], share: float) -> Float[Tensor, "N C H W"]:
    """Pictures with that share of their pixels grey which were nearest to grey already: small norms clipped.

    Pixels that tie with the first one to stay, stay. Raises ValueError for a share outside [0, 1].
    Source: Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization", section 4.

    >>> clip_norms(torch.tensor([[[[0.5, 0.6, 0.9, 1.0]]]]), 0.5)
    tensor([[[[0.5000, 0.5000, 0.9000, 1.0000]]]])
    """
    check_fraction("clip_norm", share)
    return _cleared(images, (images - GREY).norm(dim=1), share)


def clip_contributions(
    images: Float[Tensor, "N C H W"], gradient: Float[Tensor, "N C H W"], share: float
) -> Float[Tensor, "N C H W"]:
    """Pictures with that share of their pixels grey whose loss the score would feel least.

    A pixel's contribution is the absolute value of the sum over colours of its distance from grey times the
    gradient. Raises ValueError for a share outside [0, 1]. Source: Yosinski et al. 2015, section 4.

    >>> image, slope = torch.tensor([[[[0.6, 0.9]]]]), torch.tensor([[[[9.0, 0.1]]]])
    >>> clip_contributions(image, slope, 0.5)
    tensor([[[[0.6000, 0.5000]]]])
    """
    check_fraction("clip_contribution", share)
    return _cleared(images, ((images - GREY) * gradient).sum(1).abs(), share)


def diversity(features: Float[Tensor, "N K h w"]) -> Float[Tensor, ""]:
    """The mean over pairs of pictures of the cosine between their Gram matrices: 1 for equal ones.

    As a penalty it makes the pictures of a batch differ in what channels go together. One picture has no
    pair: 0. Source: Olah, Mordvintsev and Schubert 2017, "Feature Visualization", section "Diversity".

    >>> diversity(torch.ones(2, 3, 4, 4))
    tensor(1.)
    """
    flat = features.flatten(2)
    gram = (flat @ flat.transpose(1, 2)).flatten(1)
    gram = gram / gram.norm(dim=1, keepdim=True).clamp(min=1e-12)
    count = len(gram)
    cosines = gram @ gram.T
    return (cosines.sum() - cosines.diagonal().sum()) / max(1, count * (count - 1))


class Regularizers(NamedTuple):
    """What is done to a picture after each step, in this order; Yosinski's four, each off by default.

    ``decay``: the share by which every value falls towards grey (L2 decay).
    ``blur``, ``blur_every``: a Gaussian blur's standard deviation in pixels, after every so many steps.
    ``clip_norm``: the share of pixels, those with the smallest norm, that become grey.
    ``clip_contribution``: the share of pixels that become grey, those that the score would miss least.

    Source: Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization", section 4.

    >>> Regularizers(decay=0.5)(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 0)
    tensor([[[[0.7500]]]])
    """

    decay: float = 0.0
    blur: float = 0.0
    blur_every: int = 4
    clip_norm: float = 0.0
    clip_contribution: float = 0.0

    def check(self) -> None:
        """Raise ValueError for what is out of range."""
        for name in ("decay", "clip_norm", "clip_contribution"):
            check_fraction(name, getattr(self, name))
        check_weight("blur", self.blur)
        check_positive("blur_every", self.blur_every)

    @property
    def acts(self) -> bool:
        """Whether any of them is on."""
        return any((self.decay, self.blur, self.clip_norm, self.clip_contribution))

    def __call__(
        self, images: Float[Tensor, "N C H W"], gradient: Float[Tensor, "N C H W"], step: int
    ) -> Float[Tensor, "N C H W"]:
        """The pictures after the step of that number, from 0; ``gradient`` is the score's, at the step."""
        images = GREY + (1 - self.decay) * (images - GREY) if self.decay else images
        if self.blur and math.remainder(step + 1, self.blur_every) == 0:
            images = gaussian_blur(images, self.blur)
        images = clip_norms(images, self.clip_norm)
        return clip_contributions(images, gradient, self.clip_contribution)
