"""The kit's style network: a picture in, the same picture in another style out, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_channels, check_choice, check_positive

NORMS = ("instance", "batch", "conditional")
WIDTHS = (16, 32, 48)  # at the picture's side, at half and at a quarter of it
Styles = int | Int[Tensor, "N"] | Float[Tensor, "S"] | Float[Tensor, "N S"] | Sequence[float]  # noqa: F821


class ConditionalNorm(nn.Module):
    """Instance norm with a scale and a shift of its own for each style.

    ``mix`` (N, S): how much of each style a picture is to have; scale and shift are mixed in these shares.
    """

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Float[Tensor, "N C h w"], mix: Float[Tensor, "N S"]) -> Float[Tensor, "N C h w"]:
        scale, shift = ((mix @ table)[:, :, None, None] for table in (self.scale, self.shift))
        return F.instance_norm(x) * scale + shift


class Normed(nn.Module):
    """Reflection padding, a convolution, the norm asked for."""

    def __init__(self, channels: int, out: int, size: int, stride: int, norm: str, styles: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride, size // 2, bias=False, padding_mode="reflect")
        self.norm: nn.Module
        if norm == "conditional":
            self.norm = ConditionalNorm(out, styles)
        else:
            kinds: dict[str, Any] = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
            self.norm = kinds[norm](out, affine=True)

    def forward(self, x: Float[Tensor, "N C h w"], mix: Float[Tensor, "N S"]) -> Float[Tensor, "N K h w"]:
        x = self.conv(x)
        return self.norm(x, mix) if isinstance(self.norm, ConditionalNorm) else self.norm(x)


class StyleNet(nn.Module):
    """A fully convolutional transform network: pictures (N, 3, H, W) in [0, 1] in, such pictures out.

    A 9 x 9 convolution and two of stride 2, ``blocks`` residual blocks at a quarter of the side, twice
    nearest upsampling with a convolution, a 9 x 9 convolution and a sigmoid; reflection padding everywhere,
    so that borders are not dark. Sides must be divisible by 4 and at least 16. ``norm``: "instance", "batch",
    or "conditional", an instance norm with a scale and a shift of its own for each of ``styles`` styles.
    ``net(pictures, style)``: the number of a style (0 by default), one for each picture, or shares of the
    styles, (S,) or (N, S), which mix them. 168,435 parameters with one style.

    Source: Johnson, Alahi and Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and
    Super-Resolution", with a quarter of their channels; Ulyanov, Vedaldi and Lempitsky 2016, "Instance
    Normalization"; Dumoulin, Shlens and Kudlur 2017, "A Learned Representation for Artistic Style".
    """

    def __init__(
        self, styles: int = 1, norm: str = "conditional", widths: Sequence[int] = WIDTHS, blocks: int = 3
    ) -> None:
        super().__init__()
        check_positive("styles", styles)
        check_choice("norm", norm, NORMS)
        if styles > 1 and norm != "conditional":
            raise ValueError(
                f'norm must be "conditional" for a network of {styles} styles; got {norm!r}, which has one '
                "scale and shift for all."
            )
        self.styles, self.design = styles, norm
        a, b, c = widths

        def normed(channels: int, out: int, size: int = 3, stride: int = 1) -> Normed:
            return Normed(channels, out, size, stride, norm, styles)

        self.down = nn.ModuleList([normed(3, a, 9), normed(a, b, 3, 2), normed(b, c, 3, 2)])
        self.blocks = nn.ModuleList(nn.ModuleList([normed(c, c), normed(c, c)]) for _ in range(blocks))
        self.up = nn.ModuleList([normed(c, b), normed(b, a)])
        self.out = nn.Conv2d(a, 3, 9, padding=4, padding_mode="reflect")
        with torch.no_grad():  # begins at grey, far from the sigmoid's flat ends
            self.out.weight *= 0.25

    def mix_of(self, style: Styles, n: int) -> Float[Tensor, "N S"]:
        """The shares of the styles (N, S) that a ``style`` means for ``n`` pictures.

        Raises IndexError for a style that is not there, ValueError for shares that do not fit.

        >>> StyleNet(3, blocks=0).mix_of(torch.tensor([2, 0]), 2).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
        """
        weight = self.out.weight
        given = torch.as_tensor(style, device=weight.device)
        if not given.is_floating_point():
            numbers = given.reshape(-1)
            if given.ndim > 1 or len(numbers) not in (1, n):
                raise ValueError(f"style must be one number or one for each of {n} pictures; got {style!r}.")
            for number in numbers.tolist():
                if not 0 <= number < self.styles:
                    raise IndexError(
                        f"style must be 0 to {self.styles - 1}, one of the network's {self.styles} styles; "
                        f"got {number}."
                    )
            return F.one_hot(numbers.long(), self.styles).to(weight).expand(n, -1)
        if given.shape not in ((self.styles,), (n, self.styles)) or not torch.isfinite(given).all():
            raise ValueError(
                f"style must be a whole number, or finite shares of the network's {self.styles} styles, "
                f"({self.styles},) or ({n}, {self.styles}); got {tuple(given.shape)}."
            )
        return given.to(weight).expand(n, -1)

    def forward(self, images: Float[Tensor, "N 3 H W"], style: Styles = 0) -> Float[Tensor, "N 3 H W"]:
        check_channels(images, 3)
        if any(length % 4 or length < 16 for length in images.shape[2:]):
            raise ValueError(
                "images must have sides of at least 16 pixels that 4 divides; "
                f"got {images.shape[2]} x {images.shape[3]}. Cut or scale them."
            )
        mix = self.mix_of(style, len(images))
        x = 4 * (images - 0.5)
        for layer in self.down:
            x = F.relu(layer(x, mix))
        for first, second in self.blocks:  # type: ignore[misc]
            x = x + second(F.relu(first(x, mix)), mix)  # type: ignore[has-type]
        for layer in self.up:
            x = F.relu(layer(F.interpolate(x, scale_factor=2, mode="nearest"), mix))
        return torch.sigmoid(self.out(x))
