"""The objects of the toy world: twelve classes and eight kinds of clutter, each a list of primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from labkit.core.checks import check_choice, check_fraction
from labkit.data import animals, buildings, props, vehicles
from labkit.data.render import Primitive

_BUILDERS: dict[str, Callable[[dict[str, float]], list[Primitive]]] = {
    "fire engine": vehicles.fire_engine,
    "bus": vehicles.bus,
    "car": vehicles.car,
    "horse": animals.horse,
    "zebra": animals.zebra,
    "cow": animals.cow,
    "sheepdog": animals.sheepdog,
    "wolf": animals.wolf,
    "sailboat": vehicles.sailboat,
    "tank": vehicles.tank,
    "house": buildings.house,
    "tree": buildings.tree,
    "traffic cone": props.traffic_cone,
    "crate": props.crate,
    "fence": props.fence,
    "bush": props.bush,
    "rock": props.rock,
    "lamp post": props.lamp_post,
    "barrel": props.barrel,
    "mailbox": props.mailbox,
}

CLASSES: tuple[str, ...] = tuple(_BUILDERS)[:12]
"""The twelve classes in the order of their labels."""

CLUTTER: tuple[str, ...] = tuple(_BUILDERS)[12:]
"""The eight kinds of clutter, which belong to no class."""

PARTS: tuple[str, ...] = (
    "wheel", "window", "door", "roof", "hull", "ladder",
    "head", "leg", "torso", "tail", "sail", "foliage",
)  # fmt: skip
"""The twelve parts; what has no part of its own (bumpers, lamps, trunks) carries the empty name."""

VARIANT_KEYS: tuple[str, ...] = ("a", "b", "c")
"""The numbers in [0, 1] that set an object's proportions and pose; 0.5 where one is not given."""


def build(kind: str, variant: Mapping[str, float] | None = None) -> list[Primitive]:
    """The primitives of one object, in its own coordinates (x forward, y left, z up, ground at z = 0).

    ``kind`` is a name of ``CLASSES`` or ``CLUTTER``; ``variant`` gives the numbers a, b and c in [0, 1]. The
    same arguments always give the same primitives. Raises ValueError for an unknown kind, an unknown key of
    ``variant`` or a number outside [0, 1].

    >>> len(build("horse", {"a": 0.2})) <= 36
    True
    >>> sorted({primitive.part for primitive in build("fire engine")} - {""})
    ['door', 'hull', 'ladder', 'wheel', 'window']
    """
    check_choice("kind", kind, _BUILDERS)
    numbers = dict.fromkeys(VARIANT_KEYS, 0.5)
    for key, value in (variant or {}).items():
        check_choice("variant key", key, VARIANT_KEYS)
        check_fraction(f"variant[{key!r}]", value)
        numbers[key] = float(value)
    return _BUILDERS[kind](numbers)
