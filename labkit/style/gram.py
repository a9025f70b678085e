"""Gram matrices of features, their loss, and style transfer between two pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_images, check_positive, check_weight
from labkit.core.door import own_copy, seeded
from labkit.core.hooks import borrow, find_layer, record
from labkit.core.registry import signature_of
from labkit.optimize import minimize, total_variation

__all__ = [
    "Styled",
    "check_one",
    "check_varied",
    "color_matched",
    "gram_loss",
    "gram_matrix",
    "layer_weights",
    "style_transfer",
    "style_transfer_result",
]

OPTIMIZERS = ("lbfgs", "adam")
STARTS = ("noise", "content")
_CUT = (
    "layers must depend on the picture by steps that can be differentiated; no gradient reaches it. Remove "
    "detach() or no_grad(), or name earlier layers."
)
Layers = str | Sequence[str] | Mapping[str, float]


class Styled(NamedTuple):
    """``images`` (N, C, H, W), 0 to 1; ``losses`` (T,) of the search; ``style`` and ``content``: its two
    losses at the end, without their weights; ``complete``: False if ``should_stop`` ended it."""

    images: Float[Tensor, "N C H W"]
    losses: Float[Tensor, " T"]
    style: float
    content: float
    complete: bool


def gram_matrix(features: Float[Tensor, "N K h w"]) -> Float[Tensor, "N K K"]:
    """The inner products of channels over all places, divided by channels times places.

    Raises ValueError for what is no feature map. Source: Gatys, Ecker and Bethge 2015, "Texture Synthesis
    Using Convolutional Neural Networks", equation 2; the division is that of Johnson et al. 2016, equation 3.

    >>> gram_matrix(torch.ones(1, 2, 4, 4)).tolist()
    [[[0.5, 0.5], [0.5, 0.5]]]
    """
    if features.ndim != 4:
        raise ValueError(
            f"a Gram matrix needs a feature map (N, K, h, w); got {tuple(features.shape)}. "
            "Name an earlier layer."
        )
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def gram_loss(features: Float[Tensor, "N K h w"], gram: Float[Tensor, "M K K"]) -> Float[Tensor, " N"]:
    """The squared distance of each picture's Gram matrix from the one given, over that one's squared length.

    >>> gram_loss(torch.ones(1, 2, 4, 4), 2 * gram_matrix(torch.ones(1, 2, 4, 4))).item()
    0.25
    """
    away = ((gram_matrix(features) - gram) ** 2).flatten(1).sum(1)
    return away / (gram**2).flatten(1).sum(1).clamp(min=1e-12)


def layer_weights(model: nn.Module, layers: Layers, name: str) -> dict[str, float]:
    """The layers with their weights, which add to 1.

    >>> layer_weights(nn.Sequential(nn.ReLU(), nn.ReLU()), {"0": 1.0, "1": 3.0}, "style_layers")
    {'0': 0.25, '1': 0.75}
    """
    given = {layers: 1.0} if isinstance(layers, str) else layers
    if not isinstance(given, Mapping | Sequence) or not all(isinstance(name, str) for name in given):
        raise TypeError(
            f"{name} must be a layer's name, a list of names or a dictionary of names with weights; got "
            f"{layers!r}. labkit.models.layer_names(model) lists them."
        )
    found = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, 1.0)
    if not found:
        raise ValueError(f"{name} must name at least one layer, as in {name}='features.5'.")
    for layer, weight in found.items():
        find_layer(model, layer)
        check_weight(f"the weight of {layer!r}", weight)
    total = sum(found.values())
    if not total:
        raise ValueError(f"{name} must have a weight above 0.")
    return {layer: weight / total for layer, weight in found.items()}


def _features(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    with record(model, *layers) as kept:
        model(images.clone())
    return {layer: kept[layer] for layer in layers}


def check_one(name: str, pictures: Float[Tensor, "N C H W"]) -> None:
    """Raise for what is no picture (see ``check_images``), ValueError for several of them.

    >>> check_one("style", torch.rand(1, 3, 4, 4))
    """
    if len(check_images(pictures, name)) > 1:
        raise ValueError(
            f"{name} must be one picture, (1, C, H, W); got {tuple(pictures.shape)}. Call it once for each, "
            f"as in {name}[:1]."
        )


def check_varied(name: str, picture: Float[Tensor, "1 C H W"]) -> None:
    """Raise ValueError for several pictures and for one of one colour: its Gram matrix has rank one.

    >>> check_varied("style", torch.rand(1, 3, 4, 4))
    """
    check_one(name, picture)
    if not (picture.flatten(2).std(2) > 1e-4).any():
        raise ValueError(
            f"{name} must vary over the picture; this one is of one colour, whose Gram matrix has rank one "
            "and holds no texture. Give it another picture."
        )


def color_matched(
    images: Float[Tensor, "N 3 H W"], like: Float[Tensor, "M 3 h w"]
) -> Float[Tensor, "N 3 H W"]:
    """Pictures whose colours have the mean and covariance of others'; what leaves [0, 1] is clipped.

    Source: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", section 3.

    >>> color_matched(torch.rand(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.25)).mean().round(decimals=2)
    tensor(0.2500)
    """

    def told(pictures: Tensor) -> tuple[Tensor, Tensor]:
        rows = pictures.movedim(1, -1).reshape(-1, pictures.shape[1]).double()
        mean = rows.mean(0)
        return mean, (rows - mean).T @ (rows - mean) / len(rows)

    def root(matrix: Tensor, power: float) -> Tensor:
        values, axes = torch.linalg.eigh(matrix)
        return axes @ torch.diag(values.clamp(min=1e-8) ** power) @ axes.T

    (mean, own), (wanted, theirs) = told(images), told(like)
    turn = root(theirs, 0.5) @ root(own, -0.5)
    rows = (images.movedim(1, -1).double() - mean) @ turn.T + wanted
    return rows.movedim(-1, 1).clamp(0, 1).to(images.dtype)


def _begin(start: Any, content: Tensor | None, shape: Sequence[int], own: torch.Generator) -> Tensor:
    if not isinstance(start, str):
        check_images(start, "start")
        return start.detach().clone()
    check_choice("start", start, STARTS)
    if start == "content" and content is not None:
        return content.clone()
    return (0.5 + 0.1 * torch.randn(*shape, generator=own)).clamp(0, 1)


def style_transfer_result(
    model: nn.Module,
    content: Float[Tensor, "N C H W"] | None,
    style: Float[Tensor, "1 C h w"],
    *,
    style_layers: Layers,
    content_layer: str | None = None,
    content_weight: float = 1.0,
    style_weight: float = 1.0,
    tv_weight: float = 0.0,
    side: int | tuple[int, int] | None = None,
    start: str | Float[Tensor, "N C H W"] = "content",
    keep_colors: bool = False,
    optimizer: str = "lbfgs",
    steps: int = 30,
    rate: float | None = None,
    on_frame: Callable[[int, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Styled:
    """``style_transfer`` with its losses (see ``Styled``). Errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> content, style = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 12, 12)
    >>> style_transfer_result(net, content, style, style_layers="1", content_layer="1", steps=2).losses.shape
    torch.Size([2])
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_positive("steps", steps)
    for name, weight in {"content_weight": content_weight, "style_weight": style_weight,
                         "tv_weight": tv_weight}.items():  # fmt: skip
        check_weight(name, weight)
    check_one("style", style)
    if content is not None:
        check_images(content, "content")
        if content_layer is None:
            raise ValueError("content_layer must name the layer whose features stay; got None.")
    check_varied("style", style)
    with borrow(model, frozen=True):
        weights = layer_weights(model, style_layers, "style_layers")
        own = None if content is None else own_copy(model, content)
        like = own_copy(model, style)
        if keep_colors and own is not None:
            like = color_matched(like, own)
        size = (side, side) if isinstance(side, int) else side or like.shape[2:]
        wide = tuple(own.shape) if own is not None else (1, like.shape[1], *size)
        names = [*weights, *([content_layer] if content_layer and own is not None else [])]
        with torch.no_grad():
            goals = {k: gram_matrix(v) for k, v in _features(model, like, list(weights)).items()}
            kept = None if own is None else _features(model, own, [str(content_layer)])[str(content_layer)]
        images = _begin(start, own, wide, seeded(generator)).to(like).contiguous()
        if tuple(images.shape[1:]) != tuple(wide[1:]):
            raise ValueError(f"start must have the shape {tuple(wide)}; got {tuple(images.shape)}.")
        whole = None if kept is None else (kept**2).flatten(1).sum(1).clamp(min=1e-12)

        def both() -> tuple[Tensor, Tensor]:
            found = _features(model, images, list(dict.fromkeys(names)))
            styled = sum(w * gram_loss(found[k], goals[k]) for k, w in weights.items())
            if kept is None or whole is None:
                return torch.as_tensor(styled).sum(), images.new_zeros(())
            away = ((found[str(content_layer)] - kept) ** 2).flatten(1).sum(1) / whole
            return torch.as_tensor(styled).sum(), away.sum()

        def loss(_: int) -> Tensor:
            styled, same = both()
            smooth = total_variation(images).sum() / images[0].numel() if tv_weight else 0.0
            return style_weight * styled + content_weight * same + tv_weight * smooth

        found = minimize(
            [images], loss, steps=steps, rate=rate or (1.0 if optimizer == "lbfgs" else 0.03),
            optimizer=optimizer, project=lambda _: images.clamp_(0, 1), refusal=_CUT, every=1,
            on_frame=None if on_frame is None else lambda step, _: on_frame(step + 1, images.clone()),
            describe="style", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        with torch.no_grad():
            styled, same = both()
        return Styled(images.detach(), found.losses, float(styled), float(same), found.complete)


@signature_of(style_transfer_result)
def style_transfer(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """A picture with the content of one and the style of another, sought by gradient descent on its pixels.

    The loss is ``style_weight`` times the distance of Gram matrices at ``style_layers`` (a name, several, or
    names with weights, made to add to 1), each over the squared length of the style's own, plus
    ``content_weight`` times the squared distance of the features of ``content_layer`` over the squared length
    of the content's, plus ``tv_weight`` times the mean total variation. ``content`` None leaves texture
    alone. ``start``: "content", "noise" or pictures; ``keep_colors``: the style's colours are first given the
    mean and covariance of the content's. ``optimizer``: "lbfgs" or "adam", for ``steps``; after each the
    picture is clipped to [0, 1]. ``on_frame``: told the steps done and the pictures. ``generator``: of noise
    (None: seed 0). Raises ValueError for layers that are no feature map, several styles or one of one colour,
    bad options, TypeError for what is no layer's name, KeyError for a wrong one, RuntimeError for a model in
    training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Gatys, Ecker and Bethge 2016, "Image Style Transfer Using Convolutional Neural Networks"; they
    divide otherwise, so that their weights are other numbers.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> content, style = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 12, 12)
    >>> style_transfer(net, content, style, style_layers="1", content_layer="1", steps=2).shape
    torch.Size([1, 3, 16, 16])
    """
    return style_transfer_result(*args, **options).images
