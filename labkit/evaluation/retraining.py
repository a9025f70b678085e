"""ROAR, remove and retrain: take away what a map calls important, train again: is the task harder now?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.checks import check_fraction, check_images, check_maps
from labkit.core.door import own_copy
from labkit.evaluation.faithfulness import order_of
from labkit.models.training import Recipe, fit

__all__ = ["Roar", "remove", "roar"]


class Roar(NamedTuple):
    """``accuracy``: map's name -> (fractions, seeds) of networks trained without what it calls important;
    ``fractions``; ``whole`` (seeds,): trained on whole pictures."""

    accuracy: dict[str, Float[Tensor, "F S"]]
    fractions: tuple[float, ...]
    whole: Float[Tensor, " S"]


def remove(
    images: Float[Tensor, "N C H W"], maps: Float[Tensor, "N H W"], fraction: float, fill: Tensor
) -> Float[Tensor, "N C H W"]:
    """The pictures with the most important ``fraction`` of the pixels in the colour ``fill`` (C,).

    Ties go by lot. Raises ValueError for maps of another shape and a fraction outside [0, 1].

    >>> remove(torch.ones(1, 1, 1, 2), torch.tensor([[[0.0, 1.0]]]), 0.5, torch.zeros(1)).flatten()
    tensor([1., 0.])
    """
    check_images(images)
    check_fraction("fraction", fraction)
    n, _, height, width = images.shape
    maps = check_maps(maps, images)
    gone = order_of(maps)[:, : round(fraction * height * width)]
    hidden = torch.zeros(n, height * width, dtype=torch.bool, device=images.device)
    hidden.scatter_(1, gone.to(images.device), True)
    return torch.where(hidden.view(n, 1, height, width), fill.to(images)[None, :, None, None], images)


def roar(
    images: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    test_images: Float[Tensor, "M C H W"],
    test_labels: Int[Tensor, " M"],
    maps: Mapping[str, Float[Tensor, "N H W"]],
    test_maps: Mapping[str, Float[Tensor, "M H W"]],
    make_model: Callable[[], nn.Module],
    *,
    fractions: Sequence[float] = (0.1, 0.3, 0.5),
    seeds: Sequence[int] = (0, 1),
    recipe: Recipe | None = None,
) -> Roar:
    """Accuracy of networks trained anew on pictures without what each map calls important.

    Deleting pixels shows a network pictures unlike any it knows; whether it fails for what is missing or for
    how it looks, nobody can tell. So train it again on such pictures, and test on such pictures: what then is
    lost was in the pixels taken away. Removed pixels take the mean colour of the training pictures. Each
    network starts from ``make_model()`` under its seed. ``maps`` and ``test_maps`` hold the same names, of
    the true class; give ``control_maps`` among them. The global random state is left as it was. Unit: share
    of right answers. Raises ValueError for names or shapes that differ and fractions outside [0, 1].

    Source: Hooker et al. 2019, "A Benchmark for Interpretability Methods in Deep Neural Networks", section 3.

    >>> from labkit.evaluation import control_maps
    >>> pictures, labels = torch.rand(8, 3, 8, 8), torch.tensor([0, 1] * 4)
    >>> net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    >>> done = roar(pictures, labels, pictures, labels, control_maps(pictures), control_maps(pictures), net,
    ...             fractions=(0.5,), seeds=(0,), recipe=Recipe(epochs=1, batch=4, shift=1))
    >>> done.accuracy["random"].shape
    torch.Size([1, 1])
    """
    check_images(images)
    check_images(test_images, "test_images")
    if set(maps) != set(test_maps):
        raise ValueError(
            f"maps and test_maps must hold the same names; got {', '.join(sorted(maps))} and "
            f"{', '.join(sorted(test_maps))}."
        )
    recipe = recipe or Recipe(epochs=12, shift=2)
    fill = images.mean((0, 2, 3))
    bar = tqdm(total=len(seeds) * (1 + len(maps) * len(fractions)), desc="ROAR", leave=False, delay=1.5)

    def trained(train: Tensor, test: Tensor, seed: int) -> float:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make_model()
        pixels = (train * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        fit(model, np.ascontiguousarray(pixels), labels.cpu().numpy(), recipe._replace(seed=seed), bar=False)
        with torch.no_grad():
            said = torch.cat([model(own_copy(model, part)).argmax(1).cpu() for part in test.split(256)])
        bar.update()
        return float((said == test_labels.cpu()).float().mean())

    with bar:
        whole = torch.tensor([trained(images, test_images, seed) for seed in seeds])
        accuracy = {
            name: torch.tensor([
                [
                    trained(
                        remove(images, maps[name], f, fill),
                        remove(test_images, test_maps[name], f, fill),
                        s,
                    )
                    for s in seeds
                ]
                for f in fractions
            ])
            for name in maps
        }  # fmt: skip
    return Roar(accuracy, tuple(fractions), whole)
