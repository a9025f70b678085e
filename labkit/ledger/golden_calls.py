"""The golden calls: each public function once, on four scenes, with options that make it cheap.

Methods come from the registry of their package, with the options of their row; what else is public stands in
`labkit.ledger.golden_table` and the files beside it.
All run in float64, where rounding does not matter; methods that ask fast copies of a network, and the plain
form of those with a ``_result``, once more in float32. Searches take a few steps. Measures are held against
maps that are made of waves, so that their answers rest on no method. Names are the public ones, so that files
may move.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labkit import attribution, data, models, optimize
from labkit import visualization as v
from labkit.adversarial import fgsm
from labkit.attribution.occlusion_sensitivity import window_starts
from labkit.core.registry import rows
from labkit.style import invert, invert_result
from labkit.style.inversion import alpha_norm

PACKAGES = ("attribution", "visualization", "concepts", "adversarial", "style", "generative", "circuits")
# What asks a network often does so less in float64, but in float32 often enough for a fast copy to be made.
GRID = torch.arange(4).repeat_interleave(32)[:, None] * 4 + torch.arange(4).repeat_interleave(32)
# A mask of a given area begins with all its values the same: rounding decides how they are sorted, and if
# one at 1 has a slope. With these areas the order does not count, and few steps from the dark end do not
# reach 1; the loss that sorts has a call of its own. What is left may still be a hundredth.
ENDS = {"area": (1e-5, 0.99999)}
ROUGH = {
    "extremal_perturbation": 2e-2,
    # a plain baseline has ties in its pools: the last bit decides, and that is another one elsewhere
    "deep_shap": 1e-3,
    "integrated_gradients": 1e-3,
}
FEWER: dict[str, dict[str, Any]] = {
    "extremal_perturbation": {**ENDS, "mode": "delete"},
    "occlusion": {"window": 32, "stride": 32},
    "rise": {"masks": 24},
    "lime": {"samples": 24, "segments": GRID},
    "kernel_shap": {"samples": 36, "segments": GRID},
    "integrated_gradients": {"steps": 8},
}
FAST: dict[str, dict[str, Any]] = {
    "extremal_perturbation": {**ENDS, "steps": 1},
    "rise": {"masks": 104},
    "lime": {"samples": 104},
    "kernel_shap": {"samples": 104},
}
SCENES = (0, 1, 2, 6)  # of the test split: cow, horse, tank, wolf
LAYER, EARLY = "features.19", "features.5"


@dataclass(frozen=True)
class Golden:
    """A golden call: ``run()`` gives tensors, numbers and words; ``covers`` are the functions and classes
    that it answers for; ``rtol`` is what a number may be off, as a share of the size of its output."""

    run: Callable[[], Any]
    covers: tuple[Any, ...] = ()
    rtol: float = 1e-4


class Ground(NamedTuple):
    """What golden calls run on: a network, four pictures with their classes, object masks and some maps."""

    model: Any  # MiniVGG
    images: Tensor
    targets: Tensor
    masks: Tensor
    maps: Tensor
    others: Tensor
    scenes: list[data.Scene]


@functools.cache
def ground(dtype: torch.dtype = torch.float64) -> Ground:
    """The network and scenes in a precision. Pictures are rounded to bytes: the last bit decides nothing."""
    drawn = data.gather(data.sample_scene(i, "test") for i in SCENES)
    images = (drawn.images.double() * 255).round() / 255
    n, side = len(images), images.shape[-1]
    y, x = torch.meshgrid(*[torch.linspace(0, 1, side, dtype=torch.float64)] * 2, indexing="ij")
    number = torch.arange(n, dtype=torch.float64)[:, None, None]
    maps = torch.sin(7 * x + number) * torch.cos(5 * y - number) + 0.5 * images.mean(1)
    others = torch.cos(4 * x * y + 2 * number) - 0.5 * images[:, 0]
    model = models.load_model("minivgg").to(dtype)
    return Ground(
        model, images.to(dtype), drawn.labels, drawn.masks, maps.to(dtype), others.to(dtype), drawn.scenes
    )


def draw() -> torch.Generator:
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


def _asked(
    function: Callable[..., Any], options: Mapping[str, Any], single: bool = False
) -> Callable[[], Any]:
    """The call of a method on the four pictures in float64, or on two of them in float32."""

    def run() -> Any:
        g = ground(torch.float32 if single else torch.float64)
        count = 2 if single else len(g.images)
        return function(g.model, g.images[:count], g.targets[:count], **options)

    return run


def packages() -> list[ModuleType]:
    """The packages of methods that are there."""
    return [import_module(f"labkit.{place}") for place in PACKAGES if find_spec(f"labkit.{place}")]


def _methods(without: Container[str]) -> dict[str, Golden]:
    """A call for each row that asks a network for maps, of its ``_result`` form if it has one."""
    calls = {}
    for place, row in rows(packages()).items():
        maps = row.takes in (("model", "pictures", "target"), ("model", "pictures", "class"))
        if maps and place not in without:
            name, whole = row.function.__name__, row.result or row.function
            covers = tuple(dict.fromkeys((row.function, whole)))
            run = _asked(whole, {**row.options, **FEWER.get(name, {})})
            calls[place] = Golden(run, covers, ROUGH.get(name, 1e-4))
            if name in FAST or row.result:
                run = _asked(row.function, {**row.options, **FAST.get(name, {})}, single=True)
                calls[f"{place} in float32"] = Golden(run, covers, 1e-3)
    return calls


def _tools() -> dict[str, Golden]:
    """Rows that take something else: cores, what is done with a map, attacks, inversion."""
    g = ground()

    def value(coalitions: Tensor) -> Tensor:
        parts = torch.arange(1, 7, dtype=torch.float64)
        return coalitions.double() @ parts + 2 * (coalitions[:, 0] & coalitions[:, 3]).double()

    def inverted() -> Any:
        with torch.no_grad(), models.record(g.model, EARLY) as kept:
            g.model(g.images[:2])
        return invert_result(g.model, EARLY, kept[EARLY], steps=6)._asdict() | {
            "plain": invert(g.model, EARLY, kept[EARLY], steps=3, alpha_weight=0.1)
        }

    def patched() -> Any:
        few: dict[str, Any] = {"units": [3, 70, 95], "count": 2, "per_picture": 2, "batch_size": 3}
        found = v.top_patches_result(g.model, g.images, "features.9", **few)
        return [found.values, found.boxes, found.fired, v.top_patches(g.model, g.images, "features.9", **few),
                v.guided_patches(g.model, g.images, "features.9", **few)]  # fmt: skip

    signs = torch.tensor([1.0, -1.0]).double().view(1, 2, 1, 1)
    a = attribution
    masks = import_module(a.extremal_perturbation.__module__)
    levels, areas = (
        optimize.blur_pyramid(g.images, 9.0),
        torch.tensor([0.1, 0.3, 0.05, 0.6], dtype=torch.float64),
    )
    soft = (0.5 + g.maps / 4).clamp(0, 1)
    return {
        "attribution.meaningful_perturbation, version 1": Golden(
            _asked(a.meaningful_perturbation_result, {"version": 1, "steps": 3, "mode": "preserve"}),
            (a.meaningful_perturbation, a.meaningful_perturbation_result),
        ),
        "attribution.extremal_perturbation, its area": Golden(
            lambda: [masks.area_loss(soft.flatten(1), areas), masks.to_area(soft, areas)],
            (masks.area_loss, masks.to_area),
        ),
        "attribution.extremal_perturbation, its picture": Golden(
            lambda: masks.perturbed(levels, soft), (masks.perturbed,)
        ),
        "attribution.occlusion, its windows": Golden(
            lambda: [torch.tensor(window_starts(*sizes)) for sizes in ((8, 3, 2), (7, 4, 3), (128, 32, 16))],
            (window_starts,),
        ),
        "attribution.channel_attribution": Golden(
            lambda: a.channel_attribution(g.model, g.images, g.targets, layer=LAYER, steps=8)
        ),
        "attribution.kernel_shap_values": Golden(
            lambda: a.kernel_shap_values_result(value, 6, samples=40),
            (a.kernel_shap_values, a.kernel_shap_values_result),
        ),
        "attribution.shapley_values": Golden(lambda: a.shapley_values(value, 6)),
        "attribution.superpixels": Golden(lambda: a.superpixels(g.images), rtol=1e-2),
        "attribution.threshold": Golden(
            lambda: [a.threshold(g.maps, 0.9), a.threshold(g.maps, 0.8, largest=True)], rtol=1e-3
        ),
        "attribution.grabcut": Golden(lambda: a.grabcut(g.images, g.masks.double()), rtol=2e-2),
        "adversarial.fgsm": Golden(
            lambda: [
                fgsm(g.model, g.images, g.targets),
                fgsm(g.model, g.images, 2, epsilon=0.02, targeted=True),
            ],
            (fgsm,), 1e-3,
        ),
        "style.invert": Golden(inverted, (invert, invert_result, alpha_norm)),
        "visualization.activation_grid": Golden(
            lambda: v.activation_grid(g.model, g.images, EARLY)[:, ::6], (v.activation_grid,)
        ),
        "visualization.packing": Golden(
            lambda: v.packing_result(g.others[:, None].expand(-1, 2, -1, -1) * signs, g.masks + 1, top=0.1),
            (v.packing, v.packing_result),
        ),
        "visualization.top_patches": Golden(
            patched, (v.top_patches, v.top_patches_result, v.guided_patches)
        ),
    }  # fmt: skip


@functools.cache
def calls() -> dict[str, Golden]:
    """All golden calls by name. What a call answers for is, unless it says otherwise, what bears its name."""
    from labkit.ledger import (
        golden_attacks,
        golden_concepts,
        golden_filters,
        golden_space,
        golden_synthesis,
        golden_table,
        golden_world,
    )

    found = _tools()
    found |= _methods(found)
    files = (
        golden_attacks, golden_concepts, golden_filters, golden_space, golden_synthesis, golden_table,
        golden_world,
    )  # fmt: skip
    for file in files:
        for place, table in file.TABLES.items():
            found |= {f"{place}.{name}": call for name, call in table().items()}
    for name, call in found.items():
        if not call.covers:
            place, _, own = name.rpartition(".")
            found[name] = replace(call, covers=(getattr(import_module(f"labkit.{place}"), own),))
    return found
