"""What the epsilon explorer asks: a picture changed at every epsilon, by attacks and by their controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from cachetools import LRUCache
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.locks import lock_of
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = [
    "CONTROLS", "HALF", "SINGLE", "WAYS", "Attacks", "Tried", "as_nibbles", "check_epsilons", "counted",
    "wanted_class",
]  # fmt: skip

WAYS = ("fgsm", "pgd", "targeted", "sign", "other", "lent")
CONTROLS = ("sign", "other")  # steps of the same size that know nothing of the picture
SINGLE = ("fgsm", *CONTROLS)  # one step along a sign
HALF = 7  # a step is sent in sevenths of epsilon: 15 values, half a byte


class Tried(NamedTuple):
    """``images`` (E, C, H, W): the picture changed at every epsilon; ``still`` (E,): the share of its pixels
    whose gradient was exactly 0, of a control 0."""

    images: Float[Tensor, "E C H W"]
    still: Float[Tensor, " E"]


def check_epsilons(epsilons: Sequence[float]) -> list[float]:
    """The stops of the slider, 0 before them. Raises ValueError unless they rise from above 0 to at most 1.

    >>> check_epsilons([0.25, 0.5])
    [0.0, 0.25, 0.5]
    """
    found = [0.0, *(float(e) for e in epsilons if e != 0)]
    if len(found) < 2 or found[-1] > 1 or any(b <= a for a, b in zip(found, found[1:], strict=False)):
        raise ValueError(
            f"epsilons must be steps in picture values that rise, above 0 and at most 1; got {list(epsilons)}"
            ". Eight grey levels are 8 / 255."
        )
    return found


def wanted_class(label: int, count: int, number: int) -> int:
    """Another class than ``label``, by a lot that hangs on the picture's number alone.

    >>> wanted_class(3, 12, number=0) != 3
    True
    """
    lot = torch.randint(1, max(2, count), (1,), generator=torch.Generator().manual_seed(number))
    return (label + int(lot)) % count


class Attacks:
    """Networks, and what each of them says of a picture changed in some way at every epsilon.

    ``pictures`` and ``own``, the pictures with their true classes, are lists that may grow; the first
    ``count`` of them lend each other their gradients. ``place``: puts a picture on the networks' device.

    >>> net, image = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), torch.rand(3, 2, 2)
    >>> attacks = Attacks([net], [image], [0], [0.0, 0.1], 2, 1, lambda image: image[None])
    >>> attacks.tried(0, "fgsm", 0, -1).images.shape
    torch.Size([2, 3, 2, 2])
    """

    def __init__(
        self, networks: Sequence[nn.Module], pictures: list[Tensor], own: list[int], epsilons: list[float],
        steps: int, count: int, place: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        self.networks, self.pictures, self.own, self.epsilons = networks, pictures, own, epsilons
        self.steps, self.count, self.place = steps, count, place
        self._signs: dict[tuple[int, int], tuple[Tensor, float]] = {}
        self._found: dict[tuple, tuple[list[int], list[float]]] = {}
        self._searched: LRUCache = LRUCache(4)  # the latest searches, which several networks are asked about

    def scores(self, network: int, images: Tensor) -> Float[Tensor, "E K"]:
        """The scores of a network, in the order of the pictures."""
        net = self.networks[network]
        with lock_of(net), torch.no_grad():
            return net(images).float().cpu()

    def sign(self, picture: int, way: str, network: int) -> tuple[Float[Tensor, "1 C H W"], float]:
        """The sign that a single step follows, and the share of pixels where the gradient is exactly 0.

        A random sign hangs on the picture's number alone; another picture's is of a picture by lot.
        """
        from labkit.adversarial import fgsm_result
        from labkit.evaluation.controls import other_pictures

        if way == "sign":
            image = self.place(self.pictures[picture])
            heads = torch.randint(0, 2, image.shape, generator=torch.Generator().manual_seed(picture))
            return (2 * heads - 1).to(image), 0.0
        if way == "other":
            count = self.count if picture < self.count else 0
            pair = int(other_pictures(count)[picture]) if count > 1 else int(picture == 0)
            return self.sign(min(pair, len(self.pictures) - 1), "fgsm", network)[0], 0.0
        if (picture, network) not in self._signs:
            image = self.place(self.pictures[picture])
            found = fgsm_result(self.networks[network], image, self.own[picture])
            self._signs[picture, network] = found.gradient.sign(), float(found.still[0])
        return self._signs[picture, network]

    def tried(
        self, picture: int, way: str, network: int, aim: int, stale: Callable[[], bool] = lambda: False,
        report: Callable[[float], None] = lambda share: None,
    ) -> Tried:  # fmt: skip
        """A picture changed at every epsilon. Raises Stopped once ``stale()``."""
        from labkit.adversarial import pgd_result

        if way == "lent":
            way, network = "pgd", 0
        if (picture, way, network, aim) in self._searched:
            return self._searched[picture, way, network, aim]
        net = self.networks[network]
        image = self.place(self.pictures[picture])
        sizes = torch.tensor(self.epsilons, dtype=image.dtype, device=image.device)
        images = image.repeat(len(sizes), 1, 1, 1)
        with lock_of(net), stoppable(net, stale), torch.inference_mode(False), torch.enable_grad():
            if way in SINGLE:
                sign, share = self.sign(picture, way, network)
                moved = (images + sizes.view(-1, 1, 1, 1) * sign).clamp(0, 1)
                return Tried(moved, torch.full((len(sizes),), share))
            if way == "targeted" and self.scores(network, image).argmax(1).item() == aim:
                return Tried(images, torch.zeros(len(sizes)))  # named so already: nothing is left to attack
            found = pgd_result(
                net, images[1:], aim if way == "targeted" else self.own[picture], epsilon=sizes[1:],
                steps=self.steps, targeted=way == "targeted", progress=report, should_stop=stale,
            )  # fmt: skip
        if stale():
            raise Stopped
        still = torch.cat([found.still[:1], found.still]).float().cpu()  # at epsilon 0 nothing was tried
        tried = self._searched[picture, way, network, aim] = Tried(
            torch.cat([images[:1], found.images]), still
        )
        return tried

    def named(
        self, mark: tuple[int, str, int, int], stale: Callable[[], bool], known: Tried | None = None
    ) -> tuple[list[int], list[float]]:
        """What the network names at every epsilon, and the share of still pixels; once for each ``mark``,
        the picture, way, network and class aimed at."""
        if mark not in self._found:
            picture, way, network, aim = mark
            tried = known or self.tried(*mark, stale)
            # one search answers for every network that its pictures are shown to
            for n in range(len(self.networks)) if way == "lent" else [network]:
                said = self.scores(n, tried.images).argmax(1).tolist()
                self._found[picture, way, n, aim] = said, tried.still.tolist()
        return self._found[mark]


def as_nibbles(steps: Float[Tensor, "E C H W"], epsilons: Sequence[float]) -> bytes:
    """Steps in sevenths of their epsilon plus 8, two of them a byte, the channels of a pixel side by side.

    >>> as_nibbles(torch.tensor([[[[0.5]], [[-0.5]]]]), [0.5]).hex()
    'f1'
    """
    sizes = torch.tensor([max(e, 1e-12) for e in epsilons]).view(-1, 1, 1, 1)
    levels = (HALF * steps.detach().float().cpu() / sizes).round().clamp(-HALF, HALF) + HALF + 1
    rows = levels.to(torch.uint8).permute(0, 2, 3, 1).flatten(1).numpy()
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)), constant_values=HALF + 1)
    return bytes((rows[:, 0::2] << 4 | rows[:, 1::2]).tobytes())


def counted(
    named: Int[Tensor, "N E"], still: Float[Tensor, "N E"], labels: Int[Tensor, " N"],
    wanted: Int[Tensor, " N"] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Of the pictures read rightly at epsilon 0: how many are fooled at each, and for how many the gradient
    is exactly zero. Where a class is ``wanted``, only being named that one counts.

    >>> counted(torch.tensor([[0, 1], [1, 1]]), torch.ones(2, 2), torch.tensor([0, 0]))
    {'right': 1, 'of': 2, 'fooled': [0, 1], 'dead': [1, 1]}
    """
    asked = torch.ones(len(labels), dtype=torch.bool) if wanted is None else wanted != labels
    right = asked & (named[:, 0] == labels)
    hit = named != labels[:, None] if wanted is None else named == wanted[:, None]
    return {
        "right": int(right.sum()), "of": int(asked.sum()),
        "fooled": (hit & right[:, None]).sum(0).tolist(),
        "dead": ((still == 1) & right[:, None]).sum(0).tolist(),
    }  # fmt: skip
