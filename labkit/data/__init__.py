"""Pictures and their truth: the toy world, photographs, and downloads.

Heavy neighbours (photographs, downloads) load when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from labkit.data.decals import Decal, tag
from labkit.data.faults import FAULTS, Fault
from labkit.data.minibroden import MiniBroden
from labkit.data.objects import CLASSES, CLUTTER, PARTS
from labkit.data.picture import render
from labkit.data.sampler import sample_scene
from labkit.data.scenes import Scenes, gather, item, label_of, to_tensor
from labkit.data.stacks import SceneStack, stack
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, TEXTURES
from labkit.data.world import MATERIALS, RENDER_VERSION, WEATHERS, Scene, Thing, replace

_LATER = {
    "concept_words": "words",
    "load_photo": "photos",
    "sample_photos": "photos",
    "STYLES": "textures",
    "texture": "textures",
    "decal_views": "filming",
    "fetch": "downloads",
    "Broden": "broden",
    "label_table": "broden",
    "load_voc": "broden",
    "minibroden_table": "broden",
}

__all__ = [
    "BASIC_COLORS",
    "CLASSES",
    "CLUTTER",
    "FAULTS",
    "GROUNDS",
    "MATERIALS",
    "PARTS",
    "RENDER_VERSION",
    "STYLES",
    "TEXTURES",
    "WEATHERS",
    "Broden",
    "Decal",
    "Fault",
    "MiniBroden",
    "Scene",
    "SceneStack",
    "Scenes",
    "Thing",
    "concept_words",
    "decal_views",
    "fetch",
    "gather",
    "item",
    "label_of",
    "label_table",
    "load_photo",
    "load_voc",
    "minibroden_table",
    "render",
    "replace",
    "sample_photos",
    "sample_scene",
    "stack",
    "tag",
    "texture",
    "to_tensor",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"labkit.data.{_LATER[name]}"), name)
    raise AttributeError(f"module 'labkit.data' has no attribute {name!r}")
