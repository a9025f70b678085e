"""What the patch explorer asks: a patch and its controls laid over scenes, and what networks say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_images
from labkit.core.locks import lock_of
from labkit.widgets.kit.worker import Stopped

__all__ = ["KEPT", "PIECES", "Laying", "as_patch", "fitted", "of_spectrum", "placing_of"]

PIECES = {
    "learned": "The patch", "cut": "Cut from a picture", "texture": "Random texture", "grey": "Grey",
}  # fmt: skip
KEPT = 4  # the likeliest classes kept of each answer


def as_patch(patch: Any) -> tuple[Float[Tensor, "3 S S"], str | None]:
    """The patch, and its shape where ``adversarial_patch_result`` gives it. Raises TypeError for what is
    neither, ValueError unless it is square, of three channels and from 0 to 1.

    >>> as_patch(torch.zeros(3, 4, 4))[0].shape
    torch.Size([3, 4, 4])
    """
    shape = getattr(patch, "shape", None) if hasattr(patch, "patch") else None
    found = getattr(patch, "patch", patch)
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[-1] != found.shape[-2]:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise (ValueError if isinstance(found, Tensor) else TypeError)(
            f"patch must be a square (3, S, S) tensor in [0, 1], as adversarial_patch gives it; got {got}."
        )
    check_images(found[None], "patch")
    return found.detach().cpu().float(), shape


def fitted(piece: Float[Tensor, "3 H W"], side: int) -> Float[Tensor, "3 S S"]:
    """The middle square of a piece, scaled to the patch's side."""
    high, wide = piece.shape[-2:]
    short = min(high, wide)
    top, left = (high - short) // 2, (wide - short) // 2
    square = piece[None, :, top : top + short, left : left + short].detach().cpu().float()
    return nn.functional.interpolate(square, (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)


def of_spectrum(patch: Float[Tensor, "3 S S"], seed: int = 0) -> Float[Tensor, "3 S S"]:
    """A random texture with the spectrum of a patch: its waves stay as strong, their phases are by lot.

    >>> of_spectrum(torch.full((3, 4, 4), 0.5)).unique()
    tensor([0.5000])
    """
    waves = torch.fft.rfft2(patch)
    lot = torch.fft.rfft2(torch.rand(patch.shape[-2:], generator=torch.Generator().manual_seed(seed)))
    turned = waves * lot / lot.abs().clamp(min=1e-12)
    turned[:, 0, 0] = waves[:, 0, 0]  # the mean colour stays
    return torch.fft.irfft2(turned, s=patch.shape[-2:]).clamp(0, 1)


def placing_of(rows: Sequence[tuple[float, float, float, float]], size: Sequence[int]) -> Any:
    """Placings from rows of x and y in pixels, angle in degrees and side in per cent of the shorter side.

    >>> placing_of([(16, 8, 0, 25)], (32, 64)).x.tolist()
    [0.25]
    """
    from labkit.adversarial import Placing

    x, y, angle, side = torch.tensor(rows, dtype=torch.float32).T
    return Placing(x / size[1], y / size[0], side / 100, angle, torch.ones(len(rows)))


class Laying:
    """Networks and pieces, all of one side; what the networks say where a piece is laid.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)).eval()
    >>> laying = Laying([net], {"grey": torch.full((3, 4, 4), 0.5)}, "square", 2)
    >>> said = laying.said(torch.rand(1, 3, 8, 8), "grey", [(4, 4, 0, 50)])
    >>> said["p"].shape, said["aim"].shape
    (torch.Size([1, 1, 4]), torch.Size([1, 1]))
    """

    def __init__(
        self, networks: Sequence[nn.Module], pieces: dict[str, Tensor], shape: str, aim: int
    ) -> None:
        self.networks, self.pieces, self.shape, self.aim = networks, pieces, shape, aim

    def laid(
        self, image: Float[Tensor, "1 3 H W"], piece: str, rows: Sequence[tuple[float, float, float, float]]
    ) -> Float[Tensor, "N 3 H W"]:
        """The picture with a piece laid over it, once for each row."""
        from labkit.adversarial.patches import paste

        images = image.expand(len(rows), -1, -1, -1)
        return paste(images, self.pieces[piece].to(image), placing_of(rows, image.shape[-2:]), self.shape)

    def said(
        self, image: Float[Tensor, "1 3 H W"], piece: str, rows: Sequence[tuple[float, float, float, float]],
        stale: Callable[[], bool] = lambda: False,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Of each network (first axis) and row: the likeliest classes ``named``, their probabilities ``p``,
        and that of the class aimed at, ``aim``. Raises Stopped once ``stale()``."""
        named, p, aim = [], [], []
        for part in _parts(rows):
            if stale():
                raise Stopped
            with torch.no_grad():
                shown = self.laid(image, piece, part)
                scores = []
                for net in self.networks:
                    with lock_of(net):
                        scores.append(net(shown.clone()).float().cpu())
            chances = torch.stack(scores).softmax(2)
            top = chances.topk(min(KEPT, chances.shape[2]), dim=2)
            named.append(top.indices)
            p.append(top.values)
            aim.append(chances[:, :, self.aim])
        return {"named": torch.cat(named, 1), "p": torch.cat(p, 1), "aim": torch.cat(aim, 1)}


def _parts(rows: Sequence[Any], count: int = 8) -> Iterable[Sequence[Any]]:
    return (rows[i : i + count] for i in range(0, len(rows), count))
