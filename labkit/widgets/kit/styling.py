"""Style transfer and blends as an explorer runs them, and the numbers beside each picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.widgets.kit.dreams import Job, default_of, keeper, quiet
from labkit.widgets.kit.pictures import pixels
from labkit.widgets.kit.searches import SMALL, Frames

__all__ = ["blending", "picture_files", "sent_style", "shares_at", "stops_of", "styling"]

BETWEEN = 10  # stops of the blend from one style to the next
KINDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder, by name; raises ValueError where there is none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS)
    if not found:
        raise ValueError(f"styles must be a folder with pictures ({', '.join(KINDS)}); {folder} has none.")
    return found


def sent_style(image: Float[Tensor, "3 h w"], name: str) -> dict[str, Any]:
    """A style picture as a page takes it: its name, sides and pixels, of a large one as JPEG."""
    height, width = image.shape[1:]
    entry: dict[str, Any] = {"name": name, "height": height, "width": width, "data": pixels(image)}
    if height * width > SMALL:
        from PIL import Image

        file = io.BytesIO()
        Image.frombytes("RGB", (width, height), entry["data"]).save(file, "JPEG", quality=85)
        entry |= {"data": b"", "jpegs": [file.getvalue()]}
    return entry


def styling(
    model: nn.Module, image: Float[Tensor, "1 C H W"], style: Float[Tensor, "1 C h w"],
    options: Mapping[str, Any], frames: Frames,
) -> Job:  # fmt: skip
    """A picture is sought with the content of one and the style of another."""
    from labkit.style import style_transfer_result

    steps = default_of(style_transfer_result, options, "steps")
    if options.get("start", "content") == "content":
        frames.append((0, image[0].detach().cpu()))

    def job(should_stop: Callable[[], bool]) -> Any:
        return style_transfer_result(
            model, image, style, on_frame=keeper(frames, steps), progress=quiet, should_stop=should_stop,
            **options,
        )  # fmt: skip

    return job, steps


def stops_of(count: int) -> int:
    """How many steps a blend of so many styles has: round them all, of two from one to the other.

    >>> stops_of(4), stops_of(2), stops_of(1)
    (40, 10, 0)
    """
    return BETWEEN * (count if count > 2 else count - 1)


def shares_at(stop: int, count: int) -> Float[Tensor, " S"]:
    """The share of each style at a stop of the blend.

    >>> shares_at(15, 4).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    first, part = divmod(stop, BETWEEN)
    shares = torch.zeros(count)
    shares[first % count] += 1 - part / BETWEEN
    shares[(first + 1) % count] += part / BETWEEN
    return shares


def blending(network: nn.Module, image: Float[Tensor, "1 C H W"], count: int, frames: Frames) -> Job:
    """The picture in every blend of the styles that a feed-forward network has, one pass each."""
    steps = stops_of(count)

    def job(should_stop: Callable[[], bool]) -> None:
        for stop in range(steps + 1):
            if should_stop():
                return
            frames.append((stop, restyled(network, image, shares_at(stop, count)[None])[0]))

    return job, max(1, steps)


def restyled(
    network: nn.Module, image: Float[Tensor, "1 C H W"], shares: Float[Tensor, "N S"]
) -> Float[Tensor, "N C H W"]:
    """The picture with each of these shares of the styles."""
    from labkit.core.door import weight_of

    weight = weight_of(network, image)
    with torch.no_grad():
        made = network(image.to(weight).expand(len(shares), -1, -1, -1).clone(), shares.to(weight))
    return made.clamp(0, 1).float().cpu()


def weighted(distances: Sequence[Float[Tensor, " N"]], shares: Float[Tensor, " S"]) -> Float[Tensor, " N"]:
    """How far pictures are from the styles in these shares, by their distances from each."""
    return (torch.stack(list(distances)) * shares[:, None]).sum(0)
