"""Feed-forward style transfer: a network that learned a style, or several, gives it to a picture at once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_images, check_positive, check_weight
from labkit.core.door import asked, own_copy, seeded
from labkit.core.hooks import borrow, record
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.features import batches
from labkit.models.stylenet import StyleNet, Styles
from labkit.optimize import total_variation
from labkit.style.gram import Layers, gram_loss, gram_matrix, layer_weights

__all__ = ["Taught", "check_style", "style_losses", "stylize", "train_style", "train_style_result"]


class Taught(NamedTuple):
    """``network``: the taught one, in eval mode; ``losses`` (T, 2): of style and of content in each step,
    without their weights; ``complete``: False if ``should_stop`` ended it."""

    network: StyleNet
    losses: Float[Tensor, "T 2"]
    complete: bool


def check_style(style: Float[Tensor, "S C h w"]) -> None:
    """Refuse style pictures of which one has a single colour.

    >>> check_style(torch.rand(2, 3, 8, 8))
    """
    check_images(style, "style")
    flat = ~(style.flatten(2).std(2) > 1e-4).any(1)
    if flat.any():
        which = "this one is" if len(style) == 1 else f"number {int(flat.nonzero()[0])} is"
        raise ValueError(
            f"style must vary over the picture; {which} of one colour, whose Gram matrix has rank one and "
            "holds no texture. Give it another picture."
        )


def style_losses(
    model: nn.Module,
    made: Float[Tensor, "N C H W"],
    content: Float[Tensor, "N C H W"],
    goals: dict[str, Float[Tensor, "N K K"]],
    weights: dict[str, float],
    content_layer: str,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """The loss of style and of content of each picture, as ``style_transfer`` has them, with gradients.

    ``goals``: the Gram matrices to be reached, layer by layer, whose losses are added with ``weights``.

    >>> net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), torch.rand(2, 3, 8, 8)
    >>> goals = {"1": torch.ones(1, 4, 4)}
    >>> [loss.shape for loss in style_losses(net, x, x, goals, {"1": 1.0}, "1")]
    [torch.Size([2]), torch.Size([2])]
    """
    layers = list(dict.fromkeys([*weights, content_layer]))
    with torch.no_grad(), record(model, content_layer) as kept:
        model(content.clone())
        stay = kept[content_layer]
    with record(model, *layers) as found:
        model(made)
    with torch.autocast(made.device.type, enabled=False):  # sums over all places need every digit
        whole = {layer: f.float() if f.dtype.itemsize < 4 else f for layer, f in found.items()}
        styled = sum(weight * gram_loss(whole[layer], goals[layer]) for layer, weight in weights.items())
        stay = stay.to(whole[content_layer])
        size = (stay**2).flatten(1).sum(1).clamp(min=1e-12)
        return torch.as_tensor(styled), ((whole[content_layer] - stay) ** 2).flatten(1).sum(1) / size


def _new(network: StyleNet | None, styles: int, draw: torch.Generator) -> StyleNet:
    """A network to be taught, which is nobody else's."""
    if network is not None:
        if not isinstance(network, StyleNet):
            raise TypeError(
                f"network must be a labkit.models.stylenet.StyleNet; got {type(network).__name__}."
            )
        if network.styles not in (1, styles):
            raise ValueError(
                f"network must have as many styles as there are style pictures, {styles}, or one, which then "
                f"learns their mixture; got a network of {network.styles}."
            )
        return copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=draw)))
        return StyleNet(styles, "instance" if styles == 1 else "conditional")


def train_style_result(
    model: nn.Module,
    content: Float[Tensor, "M 3 H W"] | ndarray,
    style: Float[Tensor, "S 3 h w"],
    *,
    style_layers: Layers,
    content_layer: str,
    network: StyleNet | None = None,
    content_weight: float = 1.0,
    style_weight: float = 1.0,
    tv_weight: float = 0.0,
    crop: int = 64,
    steps: int = 600,
    batch: int = 4,
    rate: float = 3e-3,
    on_frame: Callable[[int, StyleNet], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Taught:
    """``train_style`` with its losses (see ``Taught``). Errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> given = {"style_layers": "1", "content_layer": "1", "crop": 16, "steps": 2}
    >>> train_style_result(net, torch.rand(4, 3, 16, 16), torch.rand(1, 3, 16, 16), **given).losses.shape
    torch.Size([2, 2])
    """
    for name, number in {"crop": crop, "steps": steps, "batch": batch}.items():
        check_positive(name, number)
    check_positive("rate", rate, integer=False)
    for name, weight in {"content_weight": content_weight, "style_weight": style_weight,
                         "tv_weight": tv_weight}.items():  # fmt: skip
        check_weight(name, weight)
    check_style(style)
    shown = next(batches(content, 1))
    if min(shown.shape[2:]) < crop or crop % 4 or crop < 16:
        raise ValueError(
            f"crop must be at least 16, divisible by 4 and no more than the side of content, "
            f"{min(shown.shape[2:])}; got {crop}."
        )
    draw = seeded(generator)
    taught = _new(network, len(style), draw)
    with borrow(model, frozen=True):
        weights = layer_weights(model, style_layers, "style_layers")
        own = own_copy(model, style)
        with torch.no_grad(), torch.autocast(own.device.type, enabled=False), record(model, *weights) as kept:
            model(own)
            grams = {layer: gram_matrix(kept[layer]) for layer in weights}
        taught.to(own.device, own.dtype).train()
        search = torch.optim.Adam(taught.parameters(), rate)
        fall = torch.optim.lr_scheduler.OneCycleLR(search, rate, max(steps, 2), pct_start=0.1)
        losses: list[list[float]] = []
        with working("style network", steps, "step", progress=progress, should_stop=should_stop) as work:
            for step in range(steps):
                if work.stopped():
                    break
                images, kinds = _drawn(content, own, crop, batch, len(style), draw)
                made = taught(images, kinds if taught.styles > 1 else 0)
                goals = {layer: gram[kinds] for layer, gram in grams.items()}
                styled, away = style_losses(model, made, images, goals, weights, content_layer)
                smooth = total_variation(made).mean() / made[0].numel()
                loss = style_weight * styled.mean() + content_weight * away.mean() + tv_weight * smooth
                if not (styled.requires_grad or away.requires_grad):
                    raise ValueError(
                        "style_layers must depend on the picture by steps that can be differentiated; no "
                        "gradient reaches it. Remove detach() or no_grad(), or name earlier layers."
                    )
                search.zero_grad()
                loss.backward()
                search.step()
                fall.step()
                losses.append([float(part.detach().mean()) for part in (styled, away)])
                if on_frame is not None:
                    on_frame(step + 1, taught)
                work.at(step + 1)
    return Taught(taught.eval(), torch.tensor(losses).reshape(-1, 2), work.complete)


def _drawn(
    content: Tensor | ndarray, like: Tensor, crop: int, batch: int, styles: int, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of pictures by lot, cut and turned by lot, and a style for each by lot."""
    rows = torch.randint(len(content), (batch,), generator=draw)
    images = next(batches(content[rows.numpy() if isinstance(content, ndarray) else rows], batch))
    top, left = (int(torch.randint(length - crop + 1, (), generator=draw)) for length in images.shape[2:])
    images = images[:, :, top : top + crop, left : left + crop]
    if torch.rand((), generator=draw) < 0.5:
        images = images.flip(3)
    return images.to(like), torch.randint(styles, (batch,), generator=draw).to(like.device)


@signature_of(train_style_result)
def train_style(*args: Any, **options: Any) -> StyleNet:
    """A network that learns to give pictures a style in one pass, by the loss that style transfer descends.

    ``model``: the loss network, which stays as it is. ``content``: pictures to practise on, a tensor or bytes
    (M, H, W, 3), of which crops of ``crop`` pixels are drawn, ``batch`` a step. ``style``: one picture of
    each style. Losses, ``style_layers``, ``content_layer`` and weights as in ``style_transfer``. ``network``:
    an untrained ``StyleNet``, which is copied; None makes one with instance norm, with conditional instance
    norm for several styles, of which each picture of a batch then gets one by lot. A network of one style
    learns the mixture of several. Adam with a one-cycle ``rate``. ``on_frame``: told the steps done and the
    network. ``generator``: of all that is drawn (None: seed 0). Raises ValueError for a style of one colour,
    layers that are no feature map and bad options, KeyError for wrong layers, RuntimeError for a model in
    training mode, TypeError for a network of another kind.

    Unit: none. Labels: post hoc, specific to differentiable models, global.
    Source: Johnson, Alahi and Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution"; several styles: Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for
    Artistic Style".

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> given = {"style_layers": "1", "content_layer": "1", "crop": 16, "steps": 2}
    >>> train_style(net, torch.rand(4, 3, 16, 16), torch.rand(2, 3, 16, 16), **given).styles
    2
    """
    return train_style_result(*args, **options).network


def stylize(
    network: StyleNet, images: Float[Tensor, "N 3 H W"], style: Styles = 0
) -> Float[Tensor, "N 3 H W"]:
    """Pictures in a style that a network has learned, in one pass.

    ``network``: one from ``train_style``, or bundled, as ``load_model("style-four")``. ``style``: the number
    of one of its styles, one for each picture, or shares of the styles, (S,) or (N, S), which mix their
    scales and shifts: between two styles lies a walk. Raises TypeError for a network of another kind,
    IndexError for a style it has not, ValueError for shares that do not fit and sides that 4 does not divide,
    RuntimeError for a network in training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Johnson et al. 2016, section 3.1; mixing: Dumoulin et al. 2017, section 3.3.

    >>> stylize(StyleNet(2).eval(), torch.rand(1, 3, 16, 16), [0.5, 0.5]).shape
    torch.Size([1, 3, 16, 16])
    """
    if not isinstance(network, StyleNet):
        raise TypeError(
            "network must be a style network, from train_style or load_model('style-four'); got "
            f"{type(network).__name__}. With a classifier, use labkit.style.style_transfer."
        )
    with asked(network, images) as shown, torch.no_grad():
        return network(shown, style)
