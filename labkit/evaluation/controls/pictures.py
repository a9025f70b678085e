"""Controls with pictures: another picture's label, map or gradient, and noise of the same size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.checks import check_choice
from labkit.core.door import seeded
from labkit.optimize.images import gaussian_blur

NOISES = ("white", "smooth", "sign", "blocks")
NORMS = ("2", "max")


def other_pictures(
    n: int, *, labels: Tensor | Sequence[int] | None = None, generator: torch.Generator | None = None
) -> Int[Tensor, " N"]:
    """For each of ``n`` pictures the number of another one, each once: a permutation that leaves none alone.

    With it labels, label maps or gradients are dealt to pictures they have nothing to do with:
    ``maps[other_pictures(len(maps))]``. ``labels`` (N,) deals only to pictures of another class.
    ``generator``: None is seed 0. Raises ValueError for fewer than two pictures, and where more than half are
    of one class, so that some would have to keep their own.

    >>> other_pictures(5).tolist()
    [4, 0, 3, 1, 2]
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, so that there is another picture; got {n}.")
    own = seeded(generator)
    order = torch.randperm(n, generator=own, device=own.device).cpu()
    found = torch.empty(n, dtype=torch.long)
    if labels is None:
        found[order] = order.roll(1)  # each takes the one before it in a ring drawn by lot
        return found
    classes = torch.as_tensor(labels).cpu()
    if classes.shape != (n,):
        raise ValueError(f"labels must hold one class a picture ({n},); got {tuple(classes.shape)}.")
    most = int(classes.unique(return_counts=True)[1].max())
    if 2 * most > n:
        raise ValueError(
            f"labels must leave half of the pictures for others; {most} of {n} are of one class."
        )
    found[order] = order.roll(1)
    for a in order.tolist():
        if classes[found[a]] == classes[a]:
            # who may take this one's and give theirs: of another class, with a picture of another class
            may = ((classes != classes[a]) & (classes[found] != classes[a])).nonzero()[:, 0]
            b = int(may[torch.randint(len(may), (1,), generator=own, device=own.device)])
            found[[a, b]] = found[[b, a]]
    return found


def of_another(
    values: Float[Tensor, "N ..."],
    *,
    labels: Tensor | Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N ..."]:
    """Each picture's values dealt to another one: another picture's gradient, map or label.

    As an attack's control another picture's gradient sign has the size and the spectrum of the right one and
    knows nothing of the picture. Options and errors as in ``other_pictures``.

    >>> of_another(torch.tensor([1.0, 2.0])).tolist()
    [2.0, 1.0]
    """
    return values[other_pictures(len(values), labels=labels, generator=generator).to(values.device)]


def equal_norm_noise(
    changes: Float[Tensor, "N C H W"],
    kind: str = "white",
    *,
    norm: str = "2",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N C H W"]:
    """Noise as large as each picture's change: what a change of this size does that knows nothing.

    ``kind``: "white" (Gaussian, each value by itself), "smooth" (the same, blurred over an eighth of the
    side), "sign" (plus or minus), "blocks" (plus or minus in squares of an eighth of the side).
    ``norm``: "2" the Euclidean length of each picture's change, "max" its largest value.
    ``generator``: None is seed 0.

    Raises ValueError for another shape, kind or norm. Where a change is nothing, so is its noise.

    Source: Szegedy et al. 2014, "Intriguing Properties of Neural Networks", section 4 (noise as a control).

    >>> change = torch.full((1, 3, 16, 16), 0.1)
    >>> round(float(equal_norm_noise(change, "blocks", norm="max").abs().max()), 4)
    0.1
    """
    check_choice("kind", kind, NOISES)
    check_choice("norm", norm, NORMS)
    if changes.ndim != 4:
        raise ValueError(f"changes must have the shape (N, C, H, W); got {tuple(changes.shape)}.")
    n, channels, height, width = changes.shape
    own, step = seeded(generator), max(1, min(height, width) // 8)
    shape = (height, width) if kind != "blocks" else (-(-height // step), -(-width // step))
    noise = torch.randn(n, channels, *shape, generator=own, device=own.device).to(changes)
    if kind == "smooth":
        noise = gaussian_blur(noise, float(step))
    if kind in ("sign", "blocks"):
        noise = torch.where(noise >= 0, 1.0, -1.0).to(changes)
    if kind == "blocks":
        noise = F.interpolate(noise, scale_factor=step, mode="nearest")[:, :, :height, :width]
    sizes = [
        x.flatten(1).norm(dim=1) if norm == "2" else x.abs().flatten(1).amax(1)
        for x in (changes.detach(), noise)
    ]
    return noise * (sizes[0] / sizes[1]).view(-1, 1, 1, 1)
