"""Dreams, inversions and textures as an explorer runs them, and the number of each beside its controls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import nearest
from labkit.widgets.kit.searches import Frames

__all__ = [
    "Job", "Judged", "amplified", "as_noisy", "check_options", "correlation", "default_of", "dreaming",
    "gram_distance", "inverting", "keeper", "quiet", "shuffled", "texturing",
]  # fmt: skip

Job = tuple[Callable[[Callable[[], bool]], Any], int]  # job(should_stop), and its number of steps
KEPT = 12  # frames of a search, about
OURS = ("on_frame", "every", "progress", "should_stop", "side")  # what an explorer gives a method itself


class Judged:
    """An explorer that has another network judge textures and styles: ``judge``, and at which layers."""

    images: list[Tensor]
    _judge: nn.Module | None
    _judge_layers: Sequence[str] | None

    @property
    def judge(self) -> tuple[nn.Module, list[str]]:
        """The network that measures, and at which of its layers."""
        from labkit.models import load_model
        from labkit.widgets.kit.overlays import layers_of

        self._judge = self._judge or load_model("minivgg-11")
        if self._judge_layers is None:
            self._judge_layers = list(layers_of(self._judge, self.images[0][None], None, 4))
        return self._judge, list(self._judge_layers)


def quiet(_: float) -> None:
    """Where progress is told elsewhere, no bar is shown."""


def check_options(argument: str, function: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a method by name; raises TypeError for one that it does not know.

    >>> from labkit.style import invert
    >>> check_options("inversion", invert, {"steps": 20})
    {'steps': 20}
    """
    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for name in options:
        if name not in known or name in OURS:
            close = ", ".join(map(repr, nearest(name, [n for n in known if n not in OURS])))
            raise TypeError(f"{argument} knows no option {name!r}. The nearest: {close}.")
    return dict(options)


def default_of(function: Callable, options: Mapping[str, Any], name: str) -> int:
    return int(options.get(name, inspect.signature(function).parameters[name].default))


def keeper(frames: Frames, steps: int) -> Callable[[int, Tensor], None]:
    """An ``on_frame`` that keeps the first frame, the last, and about twelve between them."""
    every = max(1, -(-steps // KEPT))

    def keep(step: int, pictures: Tensor) -> None:
        if step in (1, steps) or step % every == 0:
            frames.append((step, pictures[0].detach().cpu().clone()))

    return keep


def dreaming(
    model: nn.Module, image: Float[Tensor, "1 C H W"], goal: Any, options: Mapping[str, Any], frames: Frames
) -> Job:
    """A dream from a picture. A frame of a smaller octave is what stopping there would give: the picture
    with what was added to it so far, enlarged."""
    from labkit.style import deepdream_result

    octaves, steps = (default_of(deepdream_result, options, name) for name in ("octaves", "steps"))
    keep = keeper(frames, octaves * steps)
    frames.append((0, image[0].detach().cpu()))

    def whole(step: int, shown: Tensor) -> None:
        if shown.shape != image.shape:
            small = F.interpolate(
                image, shown.shape[2:], mode="bilinear", antialias=True, align_corners=False
            )
            added = F.interpolate(shown - small, image.shape[2:], mode="bilinear", align_corners=False)
            shown = (image + added).clamp(0, 1)
        keep(step, shown)

    def job(should_stop: Callable[[], bool]) -> Any:
        return deepdream_result(
            model, image, goal, on_frame=whole, progress=quiet, should_stop=should_stop, **options
        )

    return job, octaves * steps


def inverting(
    model: nn.Module, image: Float[Tensor, "1 C H W"], layer: str, options: Mapping[str, Any], frames: Frames
) -> Job:
    """A picture is sought that gives a layer what this one gives it."""
    from labkit.models import record
    from labkit.style import invert_result

    steps = default_of(invert_result, options, "steps")

    def job(should_stop: Callable[[], bool]) -> Any:
        with torch.no_grad(), record(model, layer) as kept:
            model(image.clone())
        return invert_result(
            model, layer, kept[layer], side=(image.shape[2], image.shape[3]), on_frame=keeper(frames, steps),
            every=1, progress=quiet, should_stop=should_stop, **options,
        )  # fmt: skip

    return job, steps


def texturing(
    model: nn.Module, image: Float[Tensor, "1 C H W"], layers: Sequence[str], options: Mapping[str, Any],
    frames: Frames,
) -> Job:  # fmt: skip
    """A texture is made anew from what some layers say of it, whatever the place."""
    from labkit.style import gram_texture_result

    steps = default_of(gram_texture_result, options, "steps")

    def job(should_stop: Callable[[], bool]) -> Any:
        return gram_texture_result(
            model, image, list(layers), on_frame=keeper(frames, steps), progress=quiet,
            should_stop=should_stop, **options,
        )  # fmt: skip

    return job, steps


# ---- numbers, and what they are to be held against


def amplified(model: nn.Module, pictures: Float[Tensor, "N C H W"], goal: Any) -> Float[Tensor, " N"]:
    """What a dream makes larger: half a layer's squared length, or a target's score."""
    from labkit.models import borrow, scores
    from labkit.style.dreaming import layer_norm

    with borrow(model), torch.no_grad():
        found = layer_norm(model, pictures, goal) if isinstance(goal, str) else scores(model, pictures, goal)
    return found.float().cpu()


def as_noisy(picture: Float[Tensor, "C H W"], made: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """The picture with noise that changes it as much as ``made`` does, by the sum of squares.

    >>> grey = torch.full((3, 8, 8), 0.5)
    >>> noisy = as_noisy(grey, grey + 0.1)
    >>> (noisy - grey).norm().round(decimals=3), (0.1 * torch.ones(3, 8, 8)).norm().round(decimals=3)
    (tensor(1.3860), tensor(1.3860))
    """
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0)).to(picture)
    wanted, scale = (made - picture).norm(), (made - picture).norm() / noise.norm()
    for _ in range(8):  # what leaves [0, 1] is clipped, and the rest must make up for it
        noisy = (picture + scale * noise).clamp(0, 1)
        scale = scale * wanted / (noisy - picture).norm().clamp(min=1e-12)
    return noisy


def correlation(picture: Float[Tensor, "C H W"], others: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """Pearson's, over all values of a picture with each of the others; 0 where one of them is of one colour.

    >>> picture = torch.rand(3, 4, 4)
    >>> correlation(picture, torch.stack([picture, 1 - picture])).round(decimals=4)
    tensor([ 1., -1.])
    """
    one, rest = (values.flatten(1).double() for values in (picture[None], others))
    one, rest = (values - values.mean(1, keepdim=True) for values in (one, rest))
    return ((one * rest).sum(1) / (one.norm(dim=1) * rest.norm(dim=1)).clamp(min=1e-12)).float()


def gram_distance(
    judge: nn.Module,
    pictures: Float[Tensor, "N C H W"],
    sample: Float[Tensor, "1 C h w"],
    layers: Sequence[str],
) -> Float[Tensor, " N"]:
    """How far each picture's Gram matrices are from a sample's in the eyes of a network that made none of
    them: the mean over the layers, each squared distance over the sample's own squared length."""
    from labkit.core.door import weight_of
    from labkit.models import borrow, record
    from labkit.style.gram import gram_loss, gram_matrix

    with borrow(judge), torch.no_grad():
        seen = []
        for shown in (sample, pictures):
            with record(judge, *layers) as kept:
                judge(shown.to(weight_of(judge, shown), copy=True))
            seen.append(dict(kept))
        like, found = seen
        away = [gram_loss(found[name], gram_matrix(like[name])) for name in layers]
    return torch.stack(away).mean(0).float().cpu()


def shuffled(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """The same pixels in another order.

    >>> shuffled(torch.arange(4.0).view(1, 2, 2)).sum()
    tensor(6.)
    """
    flat = picture.flatten(1)
    order = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0))
    return flat[:, order].view_as(picture)
