"""What lab 53 draws with the student's functions beside its claims: transfers, colours, contrasts, walks.

A function that takes a student's calls it on something tiny before it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.data import sample_photos
from labkit.data.textures import texture
from labkit.evaluation import twin
from labkit.experiments.bench import Bench
from labkit.experiments.style_and_content import FADES, JUDGE, LOSS, Eye, eye, measured, sought
from labkit.experiments.style_networks import BATCH, FOUR, SINGLE, running_on
from labkit.models import layer_shapes
from labkit.models.stylenet import ConditionalNorm
from labkit.optimize import minimize, total_variation
from labkit.style import stylize

Own = Callable[..., Any]
SIDE = 128
WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # of the style


class Studio(NamedTuple):
    """An ``eye`` with its layers, pictures ``content`` (N, 3, H, W), a ``style`` picture (1, 3, h, w) and the
    style's Gram matrices, ``grams``."""

    eye: Eye
    content: Float[Tensor, "N 3 H W"]
    style: Float[Tensor, "1 3 h w"]
    grams: dict[str, Tensor]


def _eye_of_guest(model: nn.Module, image: Tensor) -> Eye:
    """Four feature maps of anyone's network, spread over its first two thirds; the third is the content's."""
    shapes = layer_shapes(model, image)
    maps = [name for name, shape in shapes.items() if len(shape) == 4 and shape[2] > 4]
    kept = [maps[int(share * (len(maps) - 1))] for share in (0.05, 0.2, 0.4, 0.6)]
    layers = list(dict.fromkeys(kept))
    return Eye(model, {layer: 1 / len(layers) for layer in layers}, layers[min(2, len(layers) - 1)])


def studio(bench: Bench, model: nn.Module, style: str = "mosaic") -> Studio:
    """Three pictures, a style and the loss network: the bundled one, or a guest's with photographs."""
    drawn = texture(style, SIDE)[None]
    if bench.guest is not None:
        content = torch.stack([photo.image for photo in sample_photos(SIDE)[:3]])
        own = _eye_of_guest(model, content[:1])
    else:
        content, own = bench.firsts(3).images, eye(bench.network(LOSS), LOSS)
    return Studio(own, content, drawn, own.grams(drawn))


def _tried(content_loss: Own, style_loss: Own) -> None:
    x = torch.ones(1, 2, 2, 2)
    style_loss({"a": x}, {"a": torch.ones(1, 2, 2)}, {"a": float(content_loss(x, x).sum()) + 1})


def transfers(
    bench: Bench,
    at: Studio,
    weights: Sequence[float] = WEIGHTS,
    *,
    content_loss: Own,
    style_loss: Own,
    steps: int = 60,
) -> Float[Tensor, "W 3 H W"]:
    """The first picture in the style, sought from noise by Adam, for each weight of the style."""
    _tried(content_loss, style_loss)
    ratios = torch.tensor(weights, dtype=torch.float32)
    noise = torch.randn(len(ratios), *at.content.shape[1:], generator=torch.Generator().manual_seed(0))
    images = (0.5 + 0.1 * noise).clamp(0, 1)
    with torch.no_grad():
        kept = at.eye.features(at.content[:1])[at.eye.content].expand(len(ratios), -1, -1, -1)

    def loss(_: int) -> Tensor:
        shown = at.eye.features(images)
        away = content_loss(shown[at.eye.content], kept)
        smooth = 2.0 * total_variation(images) / images[0].numel()  # or noise stays in the plain parts
        return (ratios * style_loss(shown, at.grams, at.eye.layers) + away + smooth).sum()

    minimize(
        [images], loss, steps=bench.steps(steps, few=3), rate=0.06, schedule="cosine",
        project=lambda _: images.clamp_(0, 1), describe="style transfer",
    )  # fmt: skip
    return images.detach()


class Contrasts(NamedTuple):
    """A picture at several contrasts, ``shown`` (C, 3, H, W), and what networks make of it, by title."""

    contrasts: tuple[float, ...]
    shown: Float[Tensor, "C 3 H W"]
    made: dict[str, Float[Tensor, "C 3 H W"]]

    @property
    def moved(self) -> dict[str, float]:
        """How far the answer at the lowest contrast lies from that at the highest: mean over pixels."""
        return {name: float((made[0] - made[-1]).abs().mean()) for name, made in self.made.items()}

    @property
    def told(self) -> str:
        """The same in words, a line a network, in grey levels."""
        ends = f"from contrast {self.contrasts[0]:g} to {self.contrasts[-1]:g} a value moves by"
        lines = [f"{name}: {ends} {255 * moved:.2g} grey levels" for name, moved in self.moved.items()]
        return "\n".join(lines)

    @property
    def rows(self) -> Float[Tensor, "R 3 H W"]:
        """The pictures and below them each network's."""
        return torch.cat([self.shown, *self.made.values()])

    @property
    def titles(self) -> list[str]:
        """Of the first row the contrast, below that the network at the left."""
        own = [title for name in self.made for title in (name, *[""] * (len(self.contrasts) - 1))]
        return [*(f"contrast {share:g}" for share in self.contrasts), *own]


def contrasts(bench: Bench, at: Studio, *, instance_norm: Own) -> Contrasts:
    """One picture at three contrasts, by the network with your instance norm and by that with batch norm."""
    x = torch.ones(1, 2, 2, 2)
    instance_norm(x, x[0, :, 0, 0], x[0, :, 0, 0])
    shares = (0.3, 0.6, 1.0)
    shown = torch.cat([0.5 + share * (at.content[:1] - 0.5) for share in shares])
    nets: dict[str, Any] = {
        "instance norm": running_on(bench.network(SINGLE[0]), instance_norm),
        "batch norm": bench.network(BATCH[0]),
    }
    return Contrasts(shares, shown, {name: stylize(net, shown) for name, net in nets.items()})


class Many(NamedTuple):
    """The network of four styles on a function of one's own: ``names`` of its styles."""

    network: Any
    names: list[str]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many parameters the network has, and how many of them belong to one style alone."""
        whole = sum(p.numel() for p in self.network.parameters())
        own = sum(m.scale[0].numel() * 2 for m in self.network.modules() if isinstance(m, ConditionalNorm))
        return whole, own

    @property
    def told(self) -> str:
        """The same in words, with the part that one style's own numbers are of all."""
        whole, own = self.sizes
        return f"one style's own numbers: {own:,} of {whole:,}, about 1/{whole / own:.0f}"

    @property
    def styles(self) -> Float[Tensor, "S 3 H W"]:
        """The styles' own pictures."""
        return torch.stack([texture(name, SIDE) for name in self.names])

    def beside_the_styles(self, image: Float[Tensor, "1 3 H W"]) -> tuple[Tensor, list[str]]:
        """The styles' own pictures, and below each the picture in that style, with titles."""
        rows = torch.cat([torch.ones_like(image), self.styles, image, self.each(image)])
        return rows, ["", *self.names, "content", *(f"in {name}" for name in self.names)]

    def each(self, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "S 3 H W"]:
        """The picture in every style."""
        count = len(self.names)
        return stylize(self.network, image.expand(count, -1, -1, -1), torch.arange(count))

    def along(self, image: Float[Tensor, "1 3 H W"], mix: Float[Tensor, "T S"]) -> Float[Tensor, "T 3 H W"]:
        """The picture in every mixture of styles."""
        return stylize(self.network, image.expand(len(mix), -1, -1, -1), mix)


def many(bench: Bench, *, conditional_norm: Own) -> Many:
    """The bundled network of four styles, with your conditional instance norm in it."""
    x = torch.ones(1, 2, 2, 2)
    conditional_norm(x, x[0, :, 0], x[0, :, 0], x[0, :1, 0])
    network = bench.network(FOUR)
    return Many(running_on(network, conditional_norm), list(network.card["styles"]))  # type: ignore[index]


def faded(ends: Float[Tensor, "2 3 H W"], steps: int) -> Float[Tensor, "T 3 H W"]:
    """Two pictures faded into one another pixel by pixel: what a walk between styles is held against."""
    shares = torch.linspace(0, 1, steps)
    return torch.cat([ends[:1].lerp(ends[1:], float(share)) for share in shares])


def enlarged(images: Float[Tensor, "N 3 h w"], side: int = SIDE) -> Float[Tensor, "N 3 H W"]:
    """Small pictures at a side at which they can be seen."""
    return F.interpolate(images, size=side, mode="nearest")


def axes(show: Mapping[str, Any]) -> dict[str, Any]:
    """How S4's curves over the style weight are labelled."""
    ticks = [f"{weight:g}" for weight in show["weights"]]
    return {"ticks": ticks, "xlabel": "style weight", "ylabel": "style loss, by the judge"}


def matching(
    by: Eye, made: Float[Tensor, "R 3 H W"], content: Float[Tensor, "1 3 H W"],
    style: Float[Tensor, "1 3 H W"], *, content_loss: Own, style_loss: Own,
) -> list[float]:  # fmt: skip
    """For each picture how much of the style a cross-fade of the same content loss has, 0 to 1, by an eye."""
    grams = by.grams(style)
    fades = torch.cat([content.lerp(style, float(share)) for share in FADES])
    away, faded = (
        measured(by, shown, content.expand_as(shown), grams, content_loss, style_loss)[1]
        for shown in (made, fades)
    )
    order = np.argsort(faded)
    return np.interp(away, faded[order], FADES[order]).tolist()


def beside_cross_fades(
    bench: Bench, show: Mapping[str, Any], *, content_loss: Own, style_loss: Own
) -> tuple[Tensor, list[str]]:
    """S4's first scene in three rows: its transfers, the cross-fades of their content loss by the judge, and
    a twin's transfers; content and style stand at the left. With titles."""
    own = {"content_loss": content_loss, "style_loss": style_loss}
    content, *found, style = show["pictures"][0].split(1)
    shares = matching(eye(bench.network(JUDGE), JUDGE), torch.cat(found), content, style, **own)
    network, ticks = bench.network(LOSS), axes(show)["ticks"]
    blind = eye(twin(network, bench.scenes(128, "val", lesson=32).images), LOSS)
    made = sought(blind, content, style, bench.steps(80, few=3), **own)[:, 0]
    rows = [
        content, *found,
        style, *(content.lerp(style, share) for share in shares),
        torch.ones_like(content), *made.split(1),
    ]  # fmt: skip
    titles = [
        "content", *(f"transfer: weight {tick}" for tick in ticks),
        "style", *(f"its cross-fade: {share:.0%} style" for share in shares),
        "", *(f"twin's transfer: weight {tick}" for tick in ticks),
    ]  # fmt: skip
    return enlarged(torch.cat(rows)), titles


def walks(show: Mapping[str, Any], count: int = 3) -> tuple[Tensor, list[str]]:
    """S6's first walks from the first style to the others, a row each, with titles."""
    first, *others = show["styles"]
    rows = torch.cat(show["walks"][:count])
    between = [""] * (len(show["walks"][0]) - 2)
    return rows, [title for other in others[:count] for title in (first, *between, other)]


def norms(show: Mapping[str, Any], style: str = "mosaic") -> tuple[Tensor, list[str]]:
    """S5's pictures, a network a row of four with its name at the first; at the end of the first row, which
    has the content itself, the style."""
    made = {name: shown for name, shown in show["pictures"].items() if name != "content"}
    names = ["content itself", *(name for name in made if name != "content itself")]
    beside = texture(style, made["content itself"].shape[-1])[None]
    rows, titles = [], []
    for name in names:
        rows += [made[name][:3], beside if name == names[0] else torch.ones_like(beside)]
        titles += [name, *[""] * (len(made[name][:3]) - 1), "style" if name == names[0] else ""]
    return torch.cat(rows), titles


def beside_a_fade(
    between: Float[Tensor, "T 3 H W"], first: str, last: str
) -> tuple[Tensor, list[str]]:  # fmt: skip
    """A walk between two styles and below it the pixel fade of its ends, a row of T + 2 each, with titles.

    The two styles' own pictures stand at the ends of the first row.
    """
    steps, blank = len(between), torch.ones_like(between[:1])
    ends = [texture(name, between.shape[-1])[None] for name in (first, last)]
    rows = [ends[0], between, ends[1], blank, faded(between[[0, -1]], steps), blank]
    shares = [f"{float(share):.0%}" for share in torch.linspace(0, 1, steps)]
    said = [f"all {first}", *(f"{share} {last}" for share in shares[1:-1]), f"all {last}"]
    walked, pixels = ([f"{way}: {one}" for one in said] for way in ("walk", "fade of pixels"))
    return torch.cat(rows), [first, *walked, last, "", *pixels, ""]
