"""What activation maximization does at each step: ask, go, regularize, keep; and how it begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice
from labkit.core.registry import warn_caller
from labkit.models.slopes import Slope, Slopes
from labkit.optimize import Fourier, Pixels, Regularizers, Transforms, centre_bias

__all__ = ["STARTS", "Search", "Visualization", "first_values", "warn_of_unfired"]

STARTS = ("noise", "grey", "mean")


class Visualization(NamedTuple):
    """``images`` (N, C, H, W), 0 to 1; ``score`` (N,) of these pictures as they are, ``scores`` (T, N) of
    what the network saw at each step; ``frames`` (F, N, C, H, W), each after ``at`` (F,) steps; ``fired``
    (N,): False where the gradient was exactly zero in every step; ``redirected`` (N,): in how many it was;
    ``complete``: False if ``should_stop`` ended it; ``values``, ``seed`` and ``memory``: what a search needs
    to go on."""

    images: Float[Tensor, "N C H W"]
    score: Float[Tensor, " N"]
    scores: Float[Tensor, "T N"]
    frames: Float[Tensor, "F N C H W"]
    at: Int[Tensor, " F"]
    fired: Bool[Tensor, " N"]
    redirected: Int[Tensor, " N"]
    complete: bool
    values: Tensor
    seed: int
    memory: Mapping[str, Any] | None


def warn_of_unfired(found: Visualization) -> None:
    """Warn of pictures whose target did not fire at the start, or never, with their number."""
    count, dead, late = len(found.fired), int((~found.fired).sum()), int((found.redirected > 0).sum())
    if dead:
        warn_caller(
            f"the gradient is exactly zero for {dead} of {count} pictures in every step: the target never "
            "fired, and the picture says nothing about it. Start from pictures that excite it, or give it "
            "more steps."
        )
    elif late:
        warn_caller(
            f"the gradient is exactly zero for {late} of {count} pictures in up to "
            f"{int(found.redirected.max())} steps: the target did not fire, and its gradient was redirected "
            "through ReLUs that are off until it did."
        )


def _grey(model: nn.Module, start: str, channels: int, own: Tensor) -> Float[Tensor, "1 C 1 1"]:
    """The colour of a start: grey, or the mean that the model's normalization subtracts."""
    grey = torch.full((1, channels, 1, 1), 0.5, dtype=own.dtype, device=own.device)
    if start != "mean":
        return grey
    found = [
        m.get_buffer(name)
        for m in model.modules()
        for name in ("labkit_mean", "mean")
        if name in m._buffers and m.get_buffer(name).numel() in (1, channels)
    ]
    if not found:
        raise ValueError(
            'start="mean" needs a model that carries its mean colour; this one does not. '
            'Wrap it with labkit.models.wrap_model, or pass start="grey" or pictures.'
        )
    return grey * 0 + found[0].to(own).view(1, -1, 1, 1)


def first_values(
    model: nn.Module, start: Any, count: int, shape: tuple[int, int, int], space: Fourier | Pixels,
    seed: int, own: Tensor,
) -> Tensor:  # fmt: skip
    """The values that the search begins with: row after row from one stream, so that a batch's first rows are
    those of a smaller one."""
    if not isinstance(start, str):
        if len(start) not in (1, count) or start.shape[1:] != shape:
            raise ValueError(
                f"start must be one picture or {count}, of the shape {shape}; got {tuple(start.shape)}."
            )
        return space.values(start.detach().to(own).expand(count, -1, -1, -1))
    check_choice("start", start, STARTS)
    values = space.values(_grey(model, start, shape[0], own).expand(count, *shape))
    if start == "noise":
        generator = torch.Generator().manual_seed(seed)
        noise = [torch.randn(values.shape[1:], generator=generator, dtype=own.dtype) for _ in range(count)]
        size = 0.05 if isinstance(space, Pixels) else 0.01
        values = values + size * torch.stack(noise).to(own.device)
        space.project(values)
    return values


class Search:
    """The ascent at work: what is lost at a step, what happens after it, what is kept of it."""

    def __init__(
        self, slopes: Slopes, space: Fourier | Pixels, turned: Transforms, regular: Regularizers,
        centre: float | None, l2: float, diverse: float, seed: int, values: Tensor,
    ) -> None:  # fmt: skip
        self.slopes, self.space, self.turned, self.regular = slopes, space, turned, regular
        self.centre, self.l2, self.diverse, self.seed, self.values = centre, l2, diverse, seed, values
        self.now: Slope
        self.picture = values  # as it was asked about, in the graph
        self.scores: list[Tensor] = []
        self.frames: list[Tensor] = []
        self.at: list[int] = []
        self.redirected = torch.zeros(len(values), dtype=torch.long)
        self.fired = torch.zeros(len(values), dtype=torch.bool)

    @property
    def within(self) -> tuple[float, float] | None:
        """The range of the values, where they are a picture's own."""
        return (0.0, 1.0) if isinstance(self.space, Pixels) and self.space.colours is None else None

    def begin(self, before: Visualization | None) -> int:
        """The number of the first step."""
        return 0 if before is None else len(before.scores)

    def draw(self, step: int) -> torch.Generator:
        """The randomness of a step, the same whatever came before."""
        return torch.Generator().manual_seed((self.seed + step) % 2**63)

    def _ask(self, step: int) -> None:
        with torch.enable_grad():
            self.picture = self.space.picture(self.values)
        picture, draw = self.picture.detach(), self.draw(step)
        state = draw.get_state()

        def through(x: Tensor) -> Tensor:  # the same turn however often it is asked
            draw.set_state(state)
            return self.turned(centre_bias(x, self.centre), draw)

        with torch.enable_grad():  # the score alone may be wanted
            now = self.slopes(picture, through)
        still = (now.gradient == 0).flatten(1).all(1)
        if still.any():  # not even redirected: any way may lead to where something fires
            noise = torch.randn(picture.shape[1:], generator=draw, dtype=picture.dtype).to(picture.device)
            now = now._replace(gradient=torch.where(still[:, None, None, None], noise, now.gradient))
        self.now = now

    def _along(self, gradient: Tensor) -> Float[Tensor, " N"]:
        """The scores, with a slope by the picture that was found already."""
        along = (self.picture * gradient).flatten(1).sum(1)
        return along - along.detach() + self.now.scores

    def loss(self, step: int) -> Tensor | tuple[Tensor, Tensor]:
        """The score with its sign turned and its gradient at size 1, and the price of what penalties ask."""
        self._ask(step)
        size = self.now.gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
        size = size.clamp(min=torch.finfo(size.dtype).tiny)
        own = -self._along(self.now.gradient / size).sum()
        if not self.l2 and self.now.due is None:
            return own
        picture = self.picture
        price = self.l2 * ((picture - 0.5) ** 2).sum()
        if self.now.due is not None and self.now.price is not None:
            # as many times as pictures, so that its weight is against one picture's score
            due = (picture * self.now.due / size).sum()
            price = price + self.diverse * len(picture) * (due - due.detach() + self.now.price)
        return own, price

    def held(self, step: int) -> Float[Tensor, " N"]:
        """The scores of the step, with their own slopes, for what holds them."""
        return self._along(self.now.gradient)

    def project(self, step: int) -> None:
        """After a step: back to what gives a picture, and the regularizers."""
        self.scores.append(self.now.scores)
        self.redirected += self.now.redirected.cpu()
        self.fired |= ~self.now.redirected.cpu()
        self.space.project(self.values)
        if self.regular.acts:
            picture = self.regular(self.space.picture(self.values), self.now.gradient, step)
            self.values.copy_(self.space.values(picture))

    def keep(self, step: int) -> None:
        """Keep the picture as it is after so many steps."""
        self.frames.append(self.space.picture(self.values.detach()).clone())
        self.at.append(step)

    def frame(
        self, step: int, _: float, *, kept: bool, told: Callable[[int, Tensor, Tensor], object] | None
    ) -> None:
        """A frame of the search: kept, and told."""
        if kept:
            self.keep(step + 1)
        if told is not None:
            told(step + 1, self.space.picture(self.values.detach()).clone(), self.now.scores)

    def result(
        self, images: Tensor, score: Tensor, complete: bool, memory: Any, before: Visualization | None
    ) -> Visualization:
        """All of it, after what a search before this one left."""
        none = images.new_zeros(0, *images.shape)
        scores = torch.stack(self.scores) if self.scores else images.new_zeros(0, len(images))
        frames, at = (torch.stack(self.frames) if self.frames else none), torch.tensor(self.at).long()
        fired, redirected = self.fired, self.redirected
        if before is not None:
            scores, frames = torch.cat([before.scores, scores]), torch.cat([before.frames, frames])
            at, fired = torch.cat([before.at, at]), fired | before.fired
            redirected = redirected + before.redirected
        return Visualization(
            images.detach(), score, scores, frames, at, fired, redirected, complete, self.values.detach(),
            self.seed, memory,
        )  # fmt: skip
