"""The kit's own generator: a code of noise and class becomes a picture of the toy world, 64 pixels a side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_class, check_positive
from labkit.core.door import seeded

CHANNELS = (192, 160, 112, 64, 32)  # at 4, 8, 16, 32, 64 pixels


class Styled(nn.Module):
    """A 3 x 3 convolution whose every channel is brought to power 1, then scaled and lifted by the style.

    Before that it gets noise of its own strength: drawn anew in training, the same always in eval mode.
    """

    noise: Tensor

    def __init__(self, channels: int, out: int, style: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.style = nn.Linear(style, 2 * out)
        self.strength = nn.Parameter(torch.zeros(out, 1, 1))
        drawn = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(side))
        self.register_buffer("noise", drawn, persistent=False)

    def forward(self, x: Float[Tensor, "N C h w"], w: Float[Tensor, "N D"]) -> Float[Tensor, "N K h w"]:
        x = self.conv(x)
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise.to(x)
        x = x + self.strength.to(x) * noise
        scale, lift = self.style(w)[:, :, None, None].chunk(2, 1)
        places = (x * x).permute(0, 2, 3, 1).flatten(1, 2)  # a product is the fastest mean there is
        ones = places.new_full((len(x), 1, places.shape[1]), 1 / places.shape[1])
        power = torch.bmm(ones, places).float().mT[:, :, :, None]
        factor = (1 + scale) * torch.rsqrt(power + 1e-5)
        return F.leaky_relu(torch.addcmul(lift.to(x), x, factor.to(x)), 0.2)


class Generator(nn.Module):
    """A style-based generator: codes (N, noise + classes), not pictures, become pictures in [0, 1].

    The first ``noise`` numbers of a code say how the picture looks, drawn from a standard normal; the others
    how much there is of each class, which was one-hot in training: see ``codes``. Two linear layers turn the
    code into a style w; from a learned 4 x 4 map each block doubles the side (nearest), and every convolution
    is scaled and lifted by w. Each side gives colours, which are added up. The same code gives the same
    picture, in eval mode. With 12 classes it has 1,537,919 parameters and gives 64 x 64 pixels.

    Source: Karras, Laine and Aila 2019, "A Style-Based Generator Architecture for GANs", section 2 (without
    mixing of styles); Karras et al. 2020, section 4.1 (colours of each side are added).
    """

    def __init__(
        self, classes: int = 12, noise: int = 128, style: int = 128, channels: Sequence[int] = CHANNELS
    ) -> None:
        super().__init__()
        self.noise, self.side = noise, 4 * 2 ** (len(channels) - 1)
        self.kinds = nn.Linear(classes, style, bias=False)
        self.mapping = nn.Sequential(
            nn.Linear(noise + style, style), nn.LeakyReLU(0.2), nn.Linear(style, style), nn.LeakyReLU(0.2)
        )
        self.start = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.blocks, self.colours = nn.ModuleList(), nn.ModuleList()
        before = channels[0]
        for number, width in enumerate(channels):
            side = 4 * 2**number
            pair = [Styled(before, width, style, side)]
            if number:
                pair += [Styled(width, width, style, side)]
            self.blocks.append(nn.ModuleList(pair))
            self.colours.append(nn.Conv2d(width, 3, 1))
            before = width
        for module in self.modules():  # so that code, class and style vary as much as a picture's channels
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0.2)
        for module in self.modules():
            if isinstance(module, Styled):
                nn.init.normal_(module.style.weight, std=0.4 * style**-0.5)
            if isinstance(module, nn.Conv2d) and module.out_channels == 3:
                nn.init.normal_(module.weight, std=0.4 * module.in_channels**-0.5)
        nn.init.normal_(self.kinds.weight)

    @property
    def code_size(self) -> int:
        """How many numbers a code has."""
        return self.noise + self.kinds.in_features

    def codes(
        self,
        target: int | Int[Tensor, " N"],
        n: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "N D"]:
        """Random codes of a class (``n`` of it), or of one class a code, as in training.

        ``generator``: None is seed 0. Raises IndexError for a class out of range, ValueError for a bad ``n``.

        >>> Generator(channels=(8, 8)).codes(3, 5).shape
        torch.Size([5, 140])
        """
        kinds = torch.as_tensor(target).reshape(-1)
        if n is not None:
            check_positive("n", n)
            if len(kinds) != 1:
                raise ValueError(f"n must be left out where each code has its class; got n={n}.")
            kinds = kinds.expand(n)
        for kind in kinds.tolist():
            check_class(kind, self.kinds.in_features)
        own = seeded(generator)
        drawn = torch.randn(len(kinds), self.noise, generator=own, device=own.device)
        hot = F.one_hot(kinds.to(drawn.device).long(), self.kinds.in_features)
        return torch.cat([drawn, hot.to(drawn)], 1).to(self.kinds.weight)

    def start_codes(self, n: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "N D"]:
        """Random codes that are of no class yet, a little of each: where a search for a picture begins."""
        codes = self.codes(0, n, generator=generator)
        codes[:, self.noise :] = 1 / self.kinds.in_features
        return codes

    @property
    def code_range(self) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Between which ends the numbers of nearly all codes of the training lay: -3 to 3, classes 0 to 1."""
        low, high = torch.full((2, self.code_size), 3.0, device=self.start.device)
        low = -low
        low[self.noise :], high[self.noise :] = 0, 1
        return low, high

    def forward(self, codes: Float[Tensor, "N D"]) -> Float[Tensor, "N 3 H W"]:
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ValueError(
                f"codes must have the shape (N, {self.code_size}), noise and classes; got "
                f"{tuple(codes.shape)}. A generator takes no pictures: draw codes with generator.codes(3, 8)."
            )
        noise, kinds = codes.split([self.noise, self.kinds.in_features], 1)
        w = self.mapping(torch.cat([noise, self.kinds(kinds)], 1))
        x = self.start.expand(len(codes), -1, -1, -1)
        picture = None
        for number, (block, colour) in enumerate(zip(self.blocks, self.colours, strict=True)):
            if number:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            for layer in block.children():
                x = layer(x, w)
            own = colour(x)
            if picture is not None:
                own = own + F.interpolate(picture, scale_factor=2, mode="bilinear")
            picture = own
        return torch.sigmoid(picture.to(codes.dtype))  # type: ignore[union-attr]
