"""What the embedding explorer shows: one sheet of small pictures, groups of them, features and neighbours."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["PROJECTIONS", "Space", "atlas", "folder_pictures", "groups_of", "thumb"]

PROJECTIONS = ("t-SNE", "PCA", "DeepMDS")
COLUMNS, MOST = 50, 11  # pictures a row of the sheet; groups with a colour of their own
RAW = 1_500_000  # bytes; a larger sheet is sent as a JPEG
Groups = Mapping[str, tuple[Sequence[str], Int[Tensor, " N"]]]


@dataclass(frozen=True)
class Space:
    """Pictures in a space of features: ``features`` (N, D), ``near`` (N, k), ``groups`` by title."""

    features: Float[Tensor, "N D"]
    near: Int[Tensor, "N k"]
    groups: Groups

    @classmethod
    def of(
        cls, model: torch.nn.Module, images: Any, features: Any, layer: str | None, groups: Groups,
        neighbors: Callable[[Tensor, int], Tensor] | None, k: int,
    ) -> Space:  # fmt: skip
        """Features of the network, its answers, and the neighbours, by the caller's function if there is one.

        Raises TypeError for a function that returns no row numbers (N, k).
        """
        from labkit.core.hooks import borrow
        from labkit.models import features as features_of
        from labkit.models import last_spatial
        from labkit.models.features import batches
        from labkit.visualization import nearest_neighbors
        from labkit.visualization.neighbors import as_rows

        rows, said = [], []
        with borrow(model), torch.no_grad():
            for part in batches(images):
                if features is None and layer is None:
                    rows.append(last_spatial(model, part).float().mean((2, 3)).cpu())
                said.append(model(part.clone()).argmax(1).cpu())
        if features is not None:
            found = as_rows(features)
        elif layer is not None:
            found = features_of(model, images, layer, pool="mean")
        else:
            found = torch.cat(rows)
        k = min(k, len(found) - 1)
        near = nearest_neighbors(found, k=k) if neighbors is None else neighbors(found.clone(), k)
        if not isinstance(near, Tensor) or near.is_floating_point() or near.shape != (len(found), k):
            got = tuple(near.shape) if isinstance(near, Tensor) else type(near).__name__
            raise TypeError(f"neighbors must return row numbers of the shape ({len(found)}, {k}); got {got}.")
        answers = torch.cat(said)
        names = getattr(model, "classes", None) or [f"class {i}" for i in range(int(answers.max()) + 1)]
        return cls(found, near, {**groups, "answer": (list(names), answers)})

    def purity(self, near: Int[Tensor, "N k"]) -> dict[str, float]:
        """By title the mean share of the first five of these neighbours that are of the row's own group."""
        found = {}
        for title, (_, values) in self.groups.items():
            own = torch.as_tensor(values).long()
            found[title] = float((own[near[:, :5]] == own[:, None]).double().mean())
        return found

    def purity_of(self, points: Float[Tensor, "N 2"]) -> dict[str, float]:
        """The same of the neighbours in the plane."""
        from labkit.visualization import nearest_neighbors

        return self.purity(nearest_neighbors(points, k=min(5, len(points) - 1)))


def thumb(name: str) -> bytes:
    """A small sign with a name on it, 56 x 56 RGB, in the picture's place of a strip.

    >>> len(thumb("PCA"))
    9408
    """
    from PIL import Image, ImageDraw, ImageFont

    sign = Image.new("RGB", (56, 56), (22, 55, 99))
    drawer, font = ImageDraw.Draw(sign), ImageFont.load_default(size=15 if len(name) < 7 else 12)
    drawer.text((28, 28), name, fill=(255, 255, 255), font=font, anchor="mm")
    return sign.tobytes()


def atlas(images: Any) -> dict[str, Any]:
    """All pictures in one sheet: ``side`` of each, ``columns``, ``data`` RGB bytes or, if many, a JPEG.

    >>> sheet = atlas(torch.zeros(3, 3, 8, 8))
    >>> sheet["side"], sheet["count"], sheet["jpeg"], len(sheet["data"]) == 3 * 64 * 64 * 3
    (64, 3, False, True)
    """
    from PIL import Image

    from labkit.models.features import batches

    count = len(images)
    side = 64 if count <= 600 else 48 if count <= 2000 else 32
    small = torch.cat(
        [F.interpolate(part, (side, side), mode="bilinear", antialias=True).cpu() for part in batches(images)]
    )
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    cells = torch.zeros(rows * columns, 3, side, side)
    cells[:count] = small.expand(-1, 3, -1, -1).clamp(0, 1)
    grid = (
        cells.view(rows, columns, 3, side, side)
        .permute(0, 3, 1, 4, 2)
        .reshape(rows * side, columns * side, 3)
    )
    sheet = (grid * 255).round().byte().numpy()
    jpeg = sheet.nbytes > RAW
    data = sheet.tobytes()
    if jpeg:
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "JPEG", quality=82)
        data = buffer.getvalue()
    return {"side": side, "columns": columns, "count": count, "jpeg": jpeg, "data": data}


def groups_of(groups: Groups) -> dict[str, Any]:
    """By title the names and each picture's number; where there are many the rare ones are "others"."""
    found = {}
    for title, (names, values) in groups.items():
        numbers = np.asarray(values).astype(int)
        kinds, counts = np.unique(numbers, return_counts=True)
        often = np.argsort(-counts, kind="stable")[: MOST if len(kinds) > MOST + 1 else len(kinds)]
        kept = np.sort(kinds[often])
        shown = [str(names[k]) for k in kept] + ["others"] * (len(kept) < len(kinds))
        place = {int(kind): i for i, kind in enumerate(kept)}
        own = np.array([place.get(int(number), len(kept)) for number in numbers], np.uint8)
        found[title] = {"names": shown, "values": own.tobytes()}
    return found


def folder_pictures(path: str | Path, side: int) -> tuple[Float[Tensor, "N 3 S S"], list[str]]:
    """All photographs of a folder, cut to squares of ``side``, and their names.

    Raises ValueError for a folder without pictures, FileNotFoundError for one that is not there.
    """
    from labkit.data import load_photo
    from labkit.data.photos import SUFFIXES

    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"images must be a folder that is there; got {folder.name!r}. Check it.")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"images must be a folder with pictures; {folder.name!r} has none. "
            f"Their names end in one of {', '.join(SUFFIXES)}."
        )
    return torch.stack([load_photo(p, size=side) for p in files]), [p.stem.replace("_", " ") for p in files]
