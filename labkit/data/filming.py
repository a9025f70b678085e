"""What cameras see of a printed square on a carrier: places, light and the rest of each picture.

From these any square is filmed by a few sums: as the renderer would show it, and differentiable by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_positive
from labkit.data.carriers import Carrier, with_carrier
from labkit.data.objects import CLASSES
from labkit.data.picture import SUPERSAMPLING, camera, exposed, lens, trace
from labkit.data.render import surface
from labkit.data.sampler import sample_scene
from labkit.data.scenes import label_of, to_tensor
from labkit.data.surfaces import linear
from labkit.data.world import SIZE, Colour

if TYPE_CHECKING:
    from torch import Tensor

BLANK = (0.6, 0.6, 0.6)


@dataclass(frozen=True, eq=False)
class DecalViews:
    """Views of a square that something in each scene carries; called as ``views(square, rows)`` they give the
    pictures (len(rows), 3, 128, 128).

    ``rest`` (N, 3, H, W): a quarter of each pixel's subpixels that do not show the square, added up;
    ``labels`` (N,): the class of each scene's object;
    ``area`` (N,): the share of the picture that shows the square; ``starts`` (N + 1,): which of the P rows
    below belong to which view; ``pixel`` (P,): the pixel of each such subpixel; ``spot`` (P, 2): the place of
    the square that it shows, across and down, -1 to 1; ``light`` and ``shine`` (P, 3): what comes from there
    is light times what the square reflects, and shine; ``corners`` (1, H, W) and ``grain`` (N, 1, H, W): what
    the camera adds; ``carriers``: the descriptions.
    """

    rest: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]
    area: Float[Tensor, " N"]
    starts: list[int]
    pixel: Int[Tensor, " P"]
    spot: Float[Tensor, "P 2"]
    light: Float[Tensor, "P 3"]
    shine: Float[Tensor, "P 3"]
    corners: Float[Tensor, "1 H W"]
    grain: Float[Tensor, "N 1 H W"]
    carriers: Sequence[Carrier]

    @property
    def count(self) -> int:
        """How many views there are."""
        return len(self.rest)

    @property
    def channels(self) -> int:
        """Of a square: red, green and blue."""
        return 3

    def square(self, colour: Colour, side: int = 2) -> Float[Tensor, "3 S S"]:
        """A square of one colour."""
        import torch

        return torch.tensor(colour).view(3, 1, 1).expand(-1, side, side).clone()

    def __call__(self, square: Float[Tensor, "3 S S"], rows: Sequence[int] | Tensor) -> Tensor:
        """The pictures of some views with the square printed on what carries it."""
        import torch

        numbers = [int(row) for row in rows]
        spans = [range(self.starts[row], self.starts[row + 1]) for row in numbers]
        points = torch.tensor([point for span in spans for point in span], dtype=torch.long)
        view = torch.tensor([k for k, span in enumerate(spans) for _ in span], dtype=torch.long)
        seen = torch.nn.functional.grid_sample(
            square[None], self.spot[points][None, None].to(square), padding_mode="border", align_corners=False
        )[0, :, 0].T  # (P, 3)
        colour = seen.clamp(1e-4, 1) ** 2.2 * self.light[points].to(square) + self.shine[points].to(square)
        x = colour.clamp(min=0) * 0.92  # the renderer's film
        toned = (x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)).clamp(1e-6, 1) ** (1 / 2.2)
        flat = self.rest[numbers].to(square).permute(0, 2, 3, 1).reshape(-1, 3)
        place = view * SIZE**2 + self.pixel[points]
        whole = flat.index_add(0, place, toned / SUPERSAMPLING**2)
        shown = whole.view(len(numbers), SIZE, SIZE, 3).permute(0, 3, 1, 2)
        return (shown * self.corners.to(square) + self.grain[numbers].to(square)).clamp(0, 1)


def filmed(carrier: Carrier, area: tuple[float, float] = (0.0, 1.0)) -> dict[str, Any] | None:
    """One view, the parts of ``DecalViews`` that it has a share in, as arrays; None for another ``area``."""
    scene, side = carrier.scene, SIZE * SUPERSAMPLING
    dark, which = carrier.solids((0.0, 0.0, 0.0))
    black = trace(scene, dark)
    own = np.flatnonzero(np.isin(black.winners.ravel()[black.flat], list(which)))
    eye, rays = camera(scene), camera(scene).directions().reshape(3, -1)
    points = eye.eye.astype(np.float32) + rays[:, black.flat[own]].T * black.depth[own][:, None]
    unit, _ = surface(black.placed[min(which)], points)
    spot, inside, lit = carrier.spots(unit)
    shows = own[inside]
    if not area[0] <= len(shows) / side**2 <= area[1]:
        return None
    white = trace(scene, carrier.solids((1.0, 1.0, 1.0))[0])
    light = white.light - black.light
    rest = black._replace(light=black.light.copy())
    rest.light[own] += light[own] * linear(BLANK)  # what is not printed on
    rest.light[shows] = 0  # which the film shows as 0
    row, column = np.divmod(black.flat[shows], side)
    corners, grain = lens(scene)
    return {
        "rest": exposed(rest), "corners": corners, "grain": grain, "pixel": row // 2 * SIZE + column // 2,
        "spot": spot[inside], "light": light[shows] * lit[inside][:, None], "shine": black.light[shows],
    }  # fmt: skip


def decal_views(
    kind: str,
    count: int,
    split: str = "test",
    *,
    seed: int = 0,
    first: int = 0,
    without: Sequence[str] = (),
    size: tuple[float, float] | None = None,
    area: tuple[float, float] = (0.04, 0.12),
) -> DecalViews:
    """Scenes of a split with a "crate" or "T-shirt" set into each, and what is seen of its square.

    Turned, placed, lit and (a T-shirt) waving by lot, one view a scene from the scene ``first`` on; scenes
    with an object of the classes ``without`` are left out, and views whose square takes a share of the
    picture outside ``area``. ``size``: as of ``with_carrier``. Raises ValueError for another kind or split.

    >>> views = decal_views("crate", 2)
    >>> views(views.square((1.0, 0.0, 0.0)), [0, 1]).shape
    torch.Size([2, 3, 128, 128])
    """
    import torch

    check_positive("count", count)
    for name in without:
        check_choice("without", name, CLASSES)
    parts: list[dict[str, Any]] = []
    carriers: list[Carrier] = []
    with tqdm(total=count, desc="filming", leave=False, delay=1.5) as bar:
        for index in range(first, first + 40 * count):
            scene = sample_scene(index, split, seed)
            if scene.things[0].kind in without:
                continue
            carrier = with_carrier(scene, kind, np.random.default_rng(scene.key), size)
            if carrier is None:
                continue
            found = filmed(carrier, area)
            if found is not None:
                parts.append(found)
                carriers.append(carrier)
                bar.update()
            if len(parts) == count:
                break
    if len(parts) < count:
        raise ValueError(
            f"area and size must fit each other; only {len(parts)} of {count} views show the square on "
            f"{area[0]:g} to {area[1]:g} of the picture. Take a wider area, or another size."
        )
    ends = np.cumsum([0, *(len(part["pixel"]) for part in parts)])

    def all_of(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([part[name] for part in parts]))

    return DecalViews(
        torch.stack([to_tensor(part["rest"]) for part in parts]),
        torch.tensor([label_of(carrier.scene) for carrier in carriers]),
        torch.from_numpy(np.diff(ends) / (SIZE * SUPERSAMPLING) ** 2).float(),
        ends.tolist(), all_of("pixel").long(), all_of("spot"), all_of("light"), all_of("shine"),
        to_tensor(parts[0]["corners"]), torch.stack([to_tensor(part["grain"]) for part in parts]), carriers,
    )  # fmt: skip
