"""What the activation explorer sends of units: a layer's geometry, patches, concepts held, a picture made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.pictures import pixels
from labkit.widgets.kit.worker import Stopped

__all__ = ["ascent", "described", "held", "patches_of"]

FINE = 32  # a map is sent with so many places a side at most
PATCH = 56  # and a patch with so many pixels
KINDS = ("object", "part", "scene")  # of label maps, whose concepts a unit may hold


def described(
    model: torch.nn.Module, image: Float[Tensor, "1 C H W"], names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """What a page must know of each layer to draw it; ``names`` None: all ReLUs that give maps, or else
    convolutions. Raises ValueError where none gives one."""
    from labkit.models import layer_shapes, receptive_fields

    given: dict[str, Any] = {"side": tuple(image.shape[-2:]), "channels": image.shape[1]}
    if names is None:
        shapes = layer_shapes(model, image)
        maps = [n for n, shape in shapes.items() if len(shape) == 4 and max(shape[2:]) > 1]
        kinds = dict(model.named_modules())
        bent = [n for n in maps if "ReLU" in type(kinds[n]).__name__]
        known = receptive_fields(model, None, **given)
        fields = {n: known[n] for n in bent or maps if n in known}
    else:
        fields = receptive_fields(model, list(names), **given)
    if not fields:
        raise ValueError("model must have layers that give feature maps (N, K, h, w); none was found.")
    found = []
    for name, field in fields.items():
        count, height, width = len(field.rows), field.rows.shape[1], field.columns.shape[1]
        step = max(1, math.ceil(max(height, width) / FINE))
        middles = [_middles(ends, step) for ends in (field.rows, field.columns)]
        found.append({
            "name": name, "channels": count, "height": len(middles[0]), "width": len(middles[1]),
            "rows": middles[0], "columns": middles[1], "sees": list(field.size), "step": step,
            "whole": field.whole, "said": str(field),
        })  # fmt: skip
    return found


def ascent(model: torch.nn.Module, layer: str, channel: int | Tensor, **options: Any) -> Tensor:
    """The library's picture for a channel, or for a vector of values, one a channel."""
    from labkit.models import direction, unit
    from labkit.visualization import visualize_result

    wanted = direction(layer, channel) if isinstance(channel, Tensor) else unit(layer, channel)
    return visualize_result(model, wanted, **options).images[0]


def held(model: torch.nn.Module, data: Any, layer: str) -> list[list[tuple[str, float, float]]]:
    """For each channel the concepts that it holds: name, share of its top activations, share by chance.

    ``data`` with label maps (a ``SceneStack``); else no channel holds any. See ``packing``."""
    from labkit.data import MiniBroden
    from labkit.models import features
    from labkit.visualization import packing_result

    labels = getattr(data, "maps", None) or {}
    if not labels:
        return []
    maps = features(model, data.images, layer, pool=None)
    found: list[list[tuple[str, float, float]]] = [[] for _ in range(maps.shape[1])]
    for kind in (kind for kind in KINDS if kind in labels):
        names = MiniBroden.names[kind][1:]
        packed = packing_result(maps, torch.as_tensor(labels[kind].astype(int)), concepts=len(names))
        for channel, held in enumerate(found):
            for number, share in packed.holds(channel):
                held.append((names[int(number)], share, float(packed.chance[int(number)])))
    return [sorted(held, key=lambda one: -one[1])[:3] for held in found]


def patches_of(
    model: torch.nn.Module, data: Any, top: Any, channel: int, size: Sequence[int], stale: Callable[[], bool]
) -> Answer:
    """A channel's patches and guided patches as they are sent. Raises Stopped once ``stale()``."""
    from labkit.plots import for_the_eye
    from labkit.visualization.cropping import crops
    from labkit.visualization.guided import guided_crops

    names = ("units", "values", "pictures", "places", "boxes", "fired")
    one = top._replace(**{name: getattr(top, name)[[channel]] for name in names})
    patches = crops(model, data, one, side=size[0])[0]
    text, guided = "", torch.zeros_like(patches[:0])
    try:
        guided = guided_crops(model, data, one, side=size[0], should_stop=stale)[0]
    except ValueError as error:  # a network with other bends: its own panel says so
        text = f"{error}"
    if stale():
        raise Stopped
    return {
        "data": _strip(patches), "guided": _strip(for_the_eye(guided)), "refusal": text,
        "side": _side(max(patches.shape[-2:])), "values": one.values[0].tolist(),
        "pictures": one.pictures[0].tolist(),
        "beyond": [_share_beyond(box, size) for box in one.boxes[0].tolist()],
        "fired": int(one.fired[0]), "seen": top.seen,
    }  # fmt: skip


def _middles(ends: Tensor, step: int) -> list[float]:
    """The middle of what each place sees, along one side; of ``step`` places that are sent as one."""
    return [float(part.float().mean()) for part in ends.split(step, 1)]


def _strip(patches: Float[Tensor, "k C s t"]) -> bytes:
    """Patches as RGB, one after the other, squares of at most so many pixels."""
    if not len(patches):
        return b""
    side = _side(max(patches.shape[-2:]))
    how: dict[str, Any] = {"mode": "bilinear", "antialias": True} if side >= PATCH else {"mode": "nearest"}
    small = F.interpolate(patches.float(), (side, side), **how)
    return b"".join(pixels(patch) for patch in small)


def _side(size: int) -> int:
    """How large a patch is sent: at most PATCH, and a small one larger, so that its pixels are seen."""
    return PATCH if size > PATCH // 3 else size * (PATCH // 3 // size + 1)


def _share_beyond(box: Sequence[int], size: Sequence[int]) -> float:
    """The share of a box that lies beyond the picture."""
    top, left, bottom, right = box
    inside = max(0, min(bottom, size[0]) - max(top, 0)) * max(0, min(right, size[1]) - max(left, 0))
    return 1 - inside / max(1, (bottom - top) * (right - left))
