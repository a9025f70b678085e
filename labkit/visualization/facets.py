"""Multifaceted visualization: a unit's different reasons to fire, from means of its top pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_finite, check_positive
from labkit.core.door import seeded, weight_of
from labkit.core.registry import signature_of
from labkit.core.targets import is_class
from labkit.models import Target, borrow, features, scores
from labkit.models.features import batches
from labkit.visualization.activation_maximization import visualize_result
from labkit.visualization.ascent import Visualization, warn_of_unfired
from labkit.visualization.projections import pca, tsne

__all__ = ["EMBEDDINGS", "Clusters", "Facets", "k_means", "multifaceted", "multifaceted_result"]

EMBEDDINGS = ("pca", "tsne")


class Clusters(NamedTuple):
    """``labels`` (N,): the cluster of each point; ``centres`` (K, D); ``spread``: the sum of squared
    distances of the points from their centres."""

    labels: Int[Tensor, " N"]
    centres: Float[Tensor, "K D"]
    spread: float


class Facets(NamedTuple):
    """``images`` (K, C, H, W) and the ``starts`` they came from; ``top`` (T,): the numbers of the pictures
    that drive the target most, best first, with the ``labels`` (T,) of their facets and their ``points``
    (T, D); ``found``: all of the ascent."""

    images: Float[Tensor, "K C H W"]
    starts: Float[Tensor, "K C H W"]
    top: Int[Tensor, " T"]
    labels: Int[Tensor, " T"]
    points: Float[Tensor, "T D"]
    found: Visualization


def k_means(
    points: Float[Tensor, "N D"], count: int, *, repeats: int = 8, generator: torch.Generator | None = None
) -> Clusters:
    """Points in ``count`` clusters about their means: Lloyd's steps, from starts far apart, the best of some.

    Clusters go by size, the largest first. Raises ValueError for more clusters than different points and for
    points that are not finite. Source: Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful
    Seeding".

    >>> k_means(torch.tensor([[0.0], [0.1], [9.0]]), 2).labels
    tensor([0, 0, 1])
    """
    check_positive("count", count)
    check_finite("points", points)
    different = len(points.unique(dim=0))
    if count > different:
        raise ValueError(
            f"count must be at most the number of different points, {different}; got {count}. "
            "Ask for fewer facets or give more pictures."
        )
    draw, best = seeded(generator), None
    values = points.double()
    for _ in range(repeats):
        centres = values[torch.randint(len(values), (1,), generator=draw)]
        while len(centres) < count:
            near = torch.cdist(values, centres).amin(1) ** 2
            centres = torch.cat([centres, values[torch.multinomial(near, 1, generator=draw)]])
        for _ in range(100):
            labels = torch.cdist(values, centres).argmin(1)
            moved = torch.stack(
                [values[labels == k].mean(0) if (labels == k).any() else centres[k] for k in range(count)]
            )
            if torch.equal(moved, centres):
                break
            centres = moved
        distances, labels = torch.cdist(values, centres).min(1)
        spread = float((distances**2).sum())
        if best is None or spread < best.spread - 1e-9:
            best = Clusters(labels, centres, spread)
    assert best is not None
    order = torch.bincount(best.labels, minlength=count).argsort(descending=True, stable=True)
    return Clusters(order.argsort()[best.labels], best.centres[order].to(points.dtype), best.spread)


def _embedded(codes: Float[Tensor, "T K"], embed: str, components: int, seed: int) -> Float[Tensor, "T D"]:
    """The codes along their principal axes, and these in a plane by t-SNE where asked."""
    if not (codes != codes[0]).any():
        return codes[:, :1]  # nothing to tell apart: the clusters' own refusal says so
    points = pca(codes, dimensions=min(components, codes.shape[1], len(codes) - 1))
    if embed == "pca":
        return points
    if len(points) < 8:
        raise ValueError(f'embed="tsne" needs at least 8 pictures; got {len(points)}. Use "pca".')
    near = min(30.0, (len(points) - 1) / 4)
    return tsne(points, perplexity=near, generator=torch.Generator().manual_seed(seed))


def _driven(model: nn.Module, pictures: Any, target: Target) -> Float[Tensor, " N"]:
    """The target's score of each picture."""
    found = []
    with borrow(model, frozen=True), torch.no_grad():
        for part in batches(pictures):
            own = weight_of(model, part)
            found.append(scores(model, part.to(own.device, own.dtype), target).cpu())
    return torch.cat(found)


def multifaceted_result(
    model: nn.Module,
    target: Target,
    pictures: Float[Tensor, "N C H W"] | ndarray,
    *,
    layer: str,
    facets: int = 4,
    top: int = 200,
    nearest: int = 15,
    embed: str = "pca",
    components: int = 50,
    steps: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Facets:
    """``multifaceted`` with the starts, the clusters and all of the ascent (see ``Facets``).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> multifaceted_result(net, 1, torch.rand(6, 3, 16, 16), layer="1", facets=2, steps=2).starts.shape
    torch.Size([2, 3, 16, 16])
    """
    for name, value in {"facets": facets, "top": top, "nearest": nearest, "components": components}.items():
        check_positive(name, value)
    check_choice("embed", embed, EMBEDDINGS)
    if is_class(target) and isinstance(target, Tensor | ndarray) and target.ndim:
        raise TypeError(
            "target must be one target for all pictures; got a tensor of classes. Call it for each class."
        )
    driven = _driven(model, pictures, target)
    check_finite("the target's scores of the pictures", driven)
    if facets > len(driven):
        raise ValueError(
            f"pictures must be at least as many as facets, {facets}; got {len(driven)}. Give more pictures."
        )
    best = driven.argsort(descending=True, stable=True)[:top]
    chosen = pictures[best] if isinstance(pictures, Tensor) else pictures[best.numpy()]
    codes = features(model, chosen, layer, pool="mean", progress=lambda _: None).flatten(1)
    seed = int(torch.randint(2**31, (), generator=seeded(generator)))
    points = _embedded(codes, embed, components, seed)
    clusters = k_means(points, facets, generator=torch.Generator().manual_seed(seed))
    shown = torch.cat(list(batches(chosen)))
    away = torch.cdist(points, clusters.centres)
    starts = []
    for facet in range(facets):
        own = (clusters.labels == facet).nonzero()[:, 0]
        starts.append(shown[own[away[own, facet].argsort()[:nearest]]].mean(0))
    start = torch.stack(starts)
    found = visualize_result(
        model, target, start=start, channels=start.shape[1], steps=steps,
        generator=torch.Generator().manual_seed(seed), progress=progress, should_stop=should_stop, **options,
    )  # fmt: skip
    return Facets(found.images, start, best, clusters.labels, points, found)


@signature_of(multifaceted_result)
def multifaceted(*args: Any, **options: Any) -> Float[Tensor, "K C H W"]:
    """Pictures of what drives ``target``, one for each kind of picture among those that drive it most.

    Of ``pictures`` the ``top`` by the target's score are put in ``facets`` clusters by what ``layer`` gives
    for them (its mean over places), along their first ``components`` principal axes, or with embed="tsne" in
    the plane that t-SNE makes of these. The ``nearest`` pictures of each cluster's centre are averaged, and
    from each mean the target is ascended for ``steps`` by ``visualize``, whose other ``options`` may follow.
    Facets go by the size of their clusters.

    ``target``: one for all, as of ``visualize``; ``pictures`` (N, C, H, W) or (N, H, W, C), bytes or numbers
    from 0 to 1. ``generator``: of k-means, t-SNE and the ascent (None: seed 0).
    Raises TypeError for several classes, ValueError for fewer pictures than facets, for pictures that are too
    much alike to be told apart and as ``visualize`` does, KeyError for a wrong layer.

    Unit: picture value. Labels: post hoc, specific to differentiable models, global.
    Source: Nguyen, Yosinski and Clune 2016, "Multifaceted Feature Visualization", section 2; they always
    embed by t-SNE, and ascend with a total variation as the prior.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> multifaceted(net, 1, torch.rand(6, 3, 16, 16), layer="1", facets=2, steps=2).shape
    torch.Size([2, 3, 16, 16])
    """
    found = multifaceted_result(*args, **options)
    warn_of_unfired(found.found)
    return found.images
