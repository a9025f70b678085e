"""Projections of features to few dimensions: PCA by its own SVD, t-SNE that can be watched and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from labkit.core.checks import check_choice, check_positive
from labkit.core.door import seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.visualization.neighbors import METRICS, as_rows

Rows = Float[Tensor, "N D"] | Float[ndarray, "N D"]
INITS = ("pca", "random")
FAINT = 1e-4  # spread of the points that t-SNE begins with
METHOD = {"momentum": 0.8, "learning_rate": "auto", "n_jobs": 1}
EARLY = 12.0  # how many times as large the affinities are at first


class PCA(NamedTuple):
    """``points`` (N, k); ``mean`` (D,); ``components`` (k, D), of length 1 and at right angles; ``variances``
    (k,) along them; ``total``: the variance of the data along all directions."""

    points: Float[Tensor, "N k"]
    mean: Float[Tensor, " D"]
    components: Float[Tensor, "k D"]
    variances: Float[Tensor, " k"]
    total: float

    def project(self, features: Rows) -> Float[Tensor, "M k"]:
        """Other rows seen along the same components. Raises ValueError for another number of columns."""
        rows = as_rows(features, least=1)
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"features must have {len(self.mean)} columns, as those fitted; got {tuple(rows.shape)}."
            )
        return ((rows.to(self.mean) - self.mean) @ self.components.T).to(rows.dtype)


def check_dimensions(dimensions: int, rows: Float[Tensor, "N D"], fills: bool = True) -> None:
    """Raise ValueError unless the number of dimensions is possible for these rows.

    >>> check_dimensions(3, torch.rand(9, 2))
    Traceback (most recent call last):
    ...
    ValueError: dimensions must be at most 2, the least of columns and rows less one of features; got 3.
    """
    check_positive("dimensions", dimensions)
    most = min(rows.shape[1], len(rows) - 1)
    if fills and dimensions > most:
        raise ValueError(
            f"dimensions must be at most {most}, the least of columns and rows less one of features; "
            f"got {dimensions}."
        )


def pca_result(features: Rows, *, dimensions: int = 2) -> PCA:
    """``pca`` with components, variances and a way to project other rows (see ``PCA``). Errors as there.

    >>> pca_result([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [2.0, 1.0]], dimensions=1).components.tolist()
    [[1.0, 0.0]]
    """
    rows = as_rows(features)
    check_dimensions(dimensions, rows)
    exact = rows.double()
    mean = exact.mean(0)
    centred = exact - mean
    if not centred.any():
        raise ValueError("features must vary between rows; these are all the same.")
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    directions = directions[:dimensions]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    variances = sizes**2 / (len(rows) - 1)
    points = centred @ directions.T
    points, mean, directions = points.to(rows.dtype), mean.to(rows.dtype), directions.to(rows.dtype)
    return PCA(points, mean, directions, variances[:dimensions].to(rows.dtype), float(variances.sum()))


@signature_of(pca_result)
def pca(*args: Any, **options: Any) -> Float[Tensor, "N k"]:
    """Features seen along the ``dimensions`` directions in which they vary most, the widest first.

    The centred features' singular value decomposition, in float64. Sign: of each direction the entry that is
    largest in size is positive. Raises ValueError for NaN, other shapes, more dimensions than the features
    have columns (or rows less one), and features that do not vary.

    Unit: that of the features. Labels: post hoc, agnostic, global.
    Source: Pearson 1901, "On Lines and Planes of Closest Fit to Systems of Points in Space".

    >>> pca([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], dimensions=1).flatten().tolist()
    [-2.0, 0.0, 2.0]
    """
    return pca_result(*args, **options).points


class TSNE(NamedTuple):
    """``points`` (N, k); ``divergence``: Kullback and Leibler's, in nats; ``steps`` taken so far;
    ``complete``: False if ``should_stop`` ended it; ``search``: what ``resume`` goes on with."""

    points: Float[Tensor, "N k"]
    divergence: float
    steps: int
    complete: bool
    search: Any


def _begun(
    rows: Tensor, dimensions: int, perplexity: float, metric: str, init: Any, own: torch.Generator
) -> Any:
    """The search of openTSNE before its first step: affinities and where the points lie."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN

    if isinstance(init, str):
        check_choice("init", init, INITS)
    noise = torch.randn(len(rows), dimensions, generator=own, dtype=torch.float64, device=own.device).cpu()
    if isinstance(init, str) and init == "random":
        start = noise * FAINT
    else:
        # a little noise, so that equal rows can part
        given = pca(rows, dimensions=dimensions) if isinstance(init, str) else as_rows(init, "init")
        if given.shape != (len(rows), dimensions):
            raise ValueError(
                f"init must be one of {INITS} or points of the shape ({len(rows)}, {dimensions}); "
                f"got {tuple(given.shape)}."
            )
        given = given.double().cpu()
        start = given / given[:, 0].std().clamp(min=1e-12) * FAINT + noise * FAINT / 100
    data = rows.double().cpu().numpy()
    affinities = PerplexityBasedNN(
        data, perplexity=perplexity, metric=metric, method="exact", n_jobs=1, random_state=0
    )
    return TSNEEmbedding(start.numpy(), affinities, random_state=0, **METHOD)


def check_perplexity(perplexity: float, count: int) -> None:
    """Raise ValueError unless ``count`` rows have neighbours enough for this perplexity: three times as many.

    >>> check_perplexity(30, 50)
    Traceback (most recent call last):
    ...
    ValueError: perplexity must be at most 16.3, a third of the other rows of features; got 30. Take ...
    """
    check_positive("perplexity", perplexity, integer=False)
    if not 1 < perplexity <= (count - 1) / 3:
        wrong = "above 1 and " if perplexity <= 1 else ""
        raise ValueError(
            f"perplexity must be {wrong}at most {(count - 1) / 3:.3g}, a third of the other rows of "
            f"features; got {perplexity}. Take more pictures, or perplexity={max(2, (count - 1) // 10)}."
        )


def tsne_result(
    features: Rows,
    *,
    dimensions: int = 2,
    perplexity: float = 30.0,
    metric: str = "euclidean",
    init: str | Rows = "pca",
    early_steps: int = 250,
    steps: int = 500,
    generator: torch.Generator | None = None,
    resume: TSNE | None = None,
    on_frame: Callable[[int, Float[Tensor, "N k"]], object] | None = None,
    every: int = 10,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TSNE:
    """``tsne`` that can be watched, stopped and resumed (see ``TSNE``). Errors as there.

    ``on_frame``: called with the steps taken and the points, after every ``every`` steps and at the end of
    the early ones. ``resume``: an earlier result for the same features, which is gone on with to the same
    number of steps, or further ones; it stays as it is, and of the other options only the numbers of steps
    count. ``progress``, ``should_stop``: gets the share done; asked before every ``every`` steps.

    >>> rows = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    >>> tsne_result(rows, perplexity=5, early_steps=5, steps=5).steps
    10
    """
    rows = as_rows(features)
    for name, value in {"steps": steps, "early_steps": early_steps, "every": every}.items():
        check_positive(name, value)
    check_choice("metric", metric, METRICS)
    if resume is None:
        check_perplexity(perplexity, len(rows))
        check_dimensions(dimensions, rows, fills=False)
        if dimensions > 2:
            raise ValueError(f"dimensions must be 1 or 2 for t-SNE; got {dimensions}. Use deep_mds for more.")
        search, done = _begun(rows, dimensions, float(perplexity), metric, init, seeded(generator)), 0
    elif len(resume.points) != len(rows):
        raise ValueError(
            f"resume must be a result for these features; it has {len(resume.points)} points, "
            f"and features has {len(rows)} rows."
        )
    else:
        search, done = resume.search, resume.steps
    total, fresh = early_steps + steps, True
    divergence = float("nan") if resume is None else resume.divergence
    with working("t-SNE", total, "step", progress=progress, should_stop=should_stop) as work:
        while done < total and not work.stopped():
            ends = [total, done + every - done % every, *([early_steps] if done < early_steps else [])]
            exaggeration = EARLY if done < early_steps else None
            search = search.optimize(min(ends) - done, inplace=not fresh, exaggeration=exaggeration)
            done, fresh, divergence = min(ends), False, float(search.kl_divergence)
            if on_frame is not None:
                on_frame(done, torch.from_numpy(np.array(search)).to(rows))
            work.at(done)
    return TSNE(torch.from_numpy(np.array(search)).to(rows), divergence, done, work.complete, search)


@signature_of(tsne_result)
def tsne(*args: Any, **options: Any) -> Float[Tensor, "N k"]:
    """Features in one or two dimensions in which near ones stay near: t-SNE, by openTSNE.

    ``perplexity``: about how many neighbours of each row are to be kept near. Small ones make clusters of
    anything, also of one Gaussian. ``init``: "pca", "random" or points to begin with (N, k), which are
    scaled down. ``early_steps`` with affinities 12 times as large, then ``steps`` plain ones; learning rate N
    over that factor, momentum .8. ``generator``: None is seed 0. Distances between clusters, their sizes and
    densities mean little.

    Raises ValueError for NaN, other shapes, a perplexity above a third of the other rows and one not above 1.

    Unit: none; only what is near counts. Labels: post hoc, agnostic, global.
    Source: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE"; begun with PCA as Kobak and
    Berens 2019; Barnes and Hut's sums (theta .5), as van der Maaten 2014.

    >>> tsne(torch.rand(20, 3), perplexity=5, early_steps=5, steps=5).shape
    torch.Size([20, 2])
    """
    return tsne_result(*args, **options).points
