"""A simple model in place of the network, around one picture: LIME and KernelSHAP on superpixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attribution.shapley import ask, bar, fidelity, kernel_shap_values_result
from labkit.core.checks import check_images, check_positive
from labkit.core.door import finite, own_copy
from labkit.models import Target, Unit, borrow, scores
from labkit.models.fast import fast_copy
from labkit.optimize.images import Fill, filling


class Surrogate(NamedTuple):
    """All that ``lime`` and ``kernel_shap`` found.

    ``map`` (N, H, W): the weight of each pixel's superpixel; ``segments`` (N, H, W): its number, from 0;
    ``weights``: one tensor (M,) a picture, for its M superpixels; ``intercept`` (N,): the surrogate's score
    with every superpixel covered (for KernelSHAP the network's own); ``fidelity`` (N,): the surrogate's
    weighted R^2 on the covered pictures it was fitted to, 1 where the score never changes.
    """

    map: Float[Tensor, "N H W"]
    segments: Int[Tensor, "N H W"]
    weights: tuple[Tensor, ...]
    intercept: Float[Tensor, " N"]
    fidelity: Float[Tensor, " N"]


def superpixels(images: Float[Tensor, "N C H W"], *, count: int | None = None) -> Int[Tensor, "N H W"]:
    """The number of each pixel's superpixel, from 0: connected patches of similar colour, by SLIC.

    ``count`` is about how many a picture is cut into (default: 4 times the root of its shorter side, so 23
    at 32 px and 60 at 224 px). Where SLIC joins patches of noise until fewer than half are left or one has
    four times its share, they are made more compact, up to a grid: noise never becomes one superpixel.
    Nothing is random. Raises ValueError for an impossible count, else as ``saliency``.

    Unit: none. Labels: post hoc, model-agnostic, local.
    Source: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", section
    3, as in scikit-image. Ribeiro et al. use quickshift, whose patches depend on the side in pixels.

    >>> int(superpixels(torch.full((1, 3, 32, 32), 0.5)).max()) + 1
    25
    """
    from skimage.segmentation import slic

    check_images(images)
    height, width = images.shape[2:]
    count = min(height * width, round(4 * min(height, width) ** 0.5)) if count is None else count
    check_positive("count", count)
    if count > height * width:
        raise ValueError(
            f"count must be at most the number of pixels ({height * width}); got {count}. "
            "Pass count=None for a sensible number."
        )
    found = []
    # one precision for all, so that a picture has the same superpixels in float32 and in float64
    for image in images.detach().cpu().float().double():
        colours = image if len(image) == 3 else image.mean(0, keepdim=True).expand(3, -1, -1)
        pixels = colours.clamp(0, 1).permute(1, 2, 0).contiguous().numpy()
        for compactness in (10, 40, 160, 640):
            labels = slic(pixels, n_segments=int(count), compactness=compactness, start_label=0)
            sizes = torch.from_numpy(labels).flatten().bincount()
            if len(sizes) >= count / 2 and sizes.max() <= 4 * height * width / count:
                break
        found.append(torch.from_numpy(labels).long())
    return torch.stack(found).to(images.device)


def _segments(segments: object, images: Tensor) -> list[Int[Tensor, "H W"]]:
    """Superpixels of each picture, numbered 0 to M - 1, on the pictures' device."""
    given = superpixels(images) if segments is None else segments
    if not isinstance(given, Tensor) or given.is_floating_point() or given.dtype == torch.bool:
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(
            f"segments must be a tensor of whole numbers; got {kind}. Take labkit.attribution.superpixels."
        )
    side = images.shape[2:]
    if given.shape not in (side, (len(images), *side)):
        raise ValueError(
            f"segments must have the shape {(len(images), *side)} or {tuple(side)}; got "
            f"{tuple(given.shape)}. Take labkit.attribution.superpixels(images)."
        )
    numbered = []
    for own in given.expand(len(images), *side):
        labels, places = own.unique(return_inverse=True)
        if len(labels) < 2:
            raise ValueError(
                "segments must cut each picture into at least 2 superpixels; got 1, of which no surrogate "
                "can tell parts apart. Pass for example segments=superpixels(images, count=16)."
            )
        numbered.append(places.to(images.device))
    return numbered


def _games(
    model: nn.Module, inputs: Tensor, target: Target, segments: list[Tensor], fill: Fill, samples: int
) -> Iterator[Callable[[Bool[Tensor, "B M"]], Float[Tensor, " B"]]]:
    """For each picture, the score as a function of the superpixels that stay; the others show the fill."""
    finite(scores(model, inputs.clone(), target))  # refuses an illegal target and a broken model at once
    quick = fast_copy(model, inputs[:1], forwards=samples, folded=not isinstance(target, Unit))
    reference = filling(inputs, fill)
    for number, places in enumerate(segments):
        own = int(target[number]) if isinstance(target, Tensor) and target.ndim else target

        def play(
            coalitions: Tensor, number: int = number, places: Tensor = places, own: Target = own
        ) -> Tensor:
            kept = coalitions.to(places.device)[:, places][:, None]
            return finite(scores(quick, torch.where(kept, inputs[number], reference[number]), own))

        yield play


def _gather(segments: list[Tensor], fitted: list[tuple[Tensor, Tensor, Tensor]], like: Tensor) -> Surrogate:
    weights, intercepts, shares = (
        tuple(part.to(like) for part in parts) for parts in zip(*fitted, strict=True)
    )
    maps = torch.stack([own[places] for own, places in zip(weights, segments, strict=True)])
    return Surrogate(
        finite(maps), torch.stack(segments), weights, torch.stack(intercepts), torch.stack(shares)
    )


def _seed(generator: torch.Generator | None) -> int:
    """One draw, from which every picture's sample starts anew: a batch equals its pictures one by one."""
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    return int(torch.randint(2**62, (1,), generator=generator, device=generator.device))


def _ridge(
    rows: Float[Tensor, "B M"], answers: Float[Tensor, " B"], weights: Float[Tensor, " B"], alpha: float
) -> tuple[Float[Tensor, " M"], Float[Tensor, ""]]:
    """Weighted ridge regression with an intercept that is not penalised; the shortest solution at alpha 0."""
    share = weights / weights.sum()
    centre, level = share @ rows, share @ answers
    root = weights.sqrt()[:, None]
    penalty = alpha**0.5 * torch.eye(rows.shape[1], dtype=rows.dtype)
    left = torch.cat([root * (rows - centre), penalty])
    right = torch.cat([root * (answers - level)[:, None], torch.zeros(rows.shape[1], 1, dtype=rows.dtype)])
    slopes = torch.linalg.lstsq(left, right, driver="gelsd").solution[:, 0]
    return slopes, level - centre @ slopes


def lime_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int = 512,
    fill: Fill = "grey",
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Surrogate:
    """``lime`` with all that it found (see ``Surrogate``). Options and errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> result = lime_result(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=32)
    >>> bool((result.weights[0][result.segments[0]] == result.map[0]).all())
    True
    """
    check_images(images)
    check_positive("samples", samples)
    check_positive("kernel_width", kernel_width, integer=False)
    if isinstance(alpha, bool) or not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha must be 0 or a finite number above; got {alpha!r}. Ribeiro et al. take 1.")
    with borrow(model), torch.no_grad(), bar("LIME", len(images)) as tell:
        inputs = own_copy(model, images)
        places, seed, fitted = _segments(segments, inputs), _seed(generator), []
        for own, play in zip(places, _games(model, inputs, target, places, fill, samples), strict=True):
            players = int(own.max()) + 1
            if samples <= players:
                raise ValueError(
                    f"samples must be more than the number of superpixels ({players}); got {samples}. "
                    f"Pass for example samples={20 * players}, or fewer superpixels."
                )
            coin = torch.Generator().manual_seed(seed)
            kept = torch.rand(int(samples), players, generator=coin, dtype=torch.float64) < 0.5
            kept[0] = True
            answers, _ = ask(play, kept, batch_size, tell)
            near = torch.exp(-(((1 - kept.double().mean(1).sqrt()) / kernel_width) ** 2)).sqrt()
            change = answers - answers[:1]  # a score that never changes then gives exact zeros
            slopes, level = _ridge(kept.double(), change[:, 0], near, float(alpha))
            explained = fidelity(change, (level + kept.double() @ slopes)[:, None], near)[0]
            fitted.append((slopes, answers[0, 0] + level, explained))
        return _gather(places, fitted, inputs)


def lime(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int = 512,
    fill: Fill = "grey",
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Float[Tensor, "N H W"]:
    """What each superpixel adds to the score by a linear model that was fitted to covered copies.

    ``segments`` are the superpixels (default: ``superpixels(images)``), (N, H, W) or one (H, W) for all. In
    each of ``samples`` copies every superpixel is covered with probability 1/2, in the first none; ``fill``
    as in ``occlusion``. Copies close to the picture count more: the kernel is the root of exp(-d^2 /
    ``kernel_width``^2), d the cosine distance to all of them, 1 - the root of the share kept. The ridge
    penalty ``alpha`` leaves the intercept free. ``generator`` draws the copies (None: seed 0), the same draw
    for each picture; the segmentation has no chance in it. Signed. Unit: score (before the softmax) a
    superpixel, not a pixel. Raises ValueError for one superpixel, for no more samples than superpixels and
    for illegal numbers, TypeError for segments of another kind, else as ``occlusion``.

    Labels: post hoc, model-agnostic, local.
    Source: Ribeiro, Singh and Guestrin 2016, "Why Should I Trust You?", sections 3.3 and 3.4. They explain
    the probability, choose few superpixels by K-lasso and cover with each superpixel's own mean; their code
    draws 1000 copies. Here all keep their weight, and the score before the softmax is explained.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> lime(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=32).shape
    torch.Size([1, 4, 4])
    """
    return lime_result(
        model, images, target, segments=segments, samples=samples, fill=fill, kernel_width=kernel_width,
        alpha=alpha, generator=generator, batch_size=batch_size,
    ).map  # fmt: skip


def kernel_shap_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int | None = None,
    fill: Fill = "grey",
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Surrogate:
    """``kernel_shap`` with all that it found (see ``Surrogate``). Options and errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval().double()
    >>> images = torch.rand(1, 3, 4, 4)
    >>> result = kernel_shap_result(net, images, 0, samples=64)
    >>> score = net(images.double())[0, 0].item()
    >>> abs(float(result.intercept[0] + result.weights[0].sum()) - score) < 1e-9
    True
    """
    check_images(images)
    with borrow(model), torch.no_grad(), bar("KernelSHAP", len(images)) as tell:
        inputs = own_copy(model, images)
        places, seed, fitted = _segments(segments, inputs), _seed(generator), []
        games = _games(model, inputs, target, places, fill, samples or 600)
        for own, play in zip(places, games, strict=True):
            found = kernel_shap_values_result(
                play, int(own.max()) + 1, samples=samples, batch_size=batch_size,
                generator=torch.Generator().manual_seed(seed), done=tell,
            )  # fmt: skip
            fitted.append((found.values, found.base, found.fidelity))
        return _gather(places, fitted, inputs)


def kernel_shap(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int | None = None,
    fill: Fill = "grey",
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Float[Tensor, "N H W"]:
    """The Shapley value of each superpixel in the game whose value is the score, estimated by KernelSHAP.

    The superpixels' values sum to the score of the picture minus that of the fill, exactly. ``segments`` and
    ``fill`` as in ``lime``; ``samples`` and the regression as in ``kernel_shap_values``; ``generator`` (None:
    seed 0) draws the same for each picture. Signed. Unit: score (before the softmax) a superpixel, not a
    pixel. Raises ValueError for one superpixel or too few samples, else as ``lime``.

    Labels: post hoc, model-agnostic, local.
    Source: Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", section 4.1; the
    absent superpixel shows the fill, where the paper takes an expectation over the data.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> kernel_shap(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=64).shape
    torch.Size([1, 4, 4])
    """
    return kernel_shap_result(
        model, images, target, segments=segments, samples=samples, fill=fill, generator=generator,
        batch_size=batch_size,
    ).map  # fmt: skip
