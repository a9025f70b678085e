"""The planted faults: what breaks in the data, how to lay and to remove it, where a wrong network looks.

A network learns a shortcut where the data holds one. Each fault breaks exactly one independence of the clean
world; the sampler, the training of networks, demos, scoreboard and labs all read this one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.core.checks import check_choice
from labkit.data.world import Scene, replace

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from labkit.data.scenes import Scenes

__all__ = ["FAULTS", "Fault", "check_faults"]


@dataclass(frozen=True)
class Fault:
    """One planted fault: how scenes are drawn with it, and what a network that fell for it does.

    ``kind``: the class that it bears on.
    ``lay``, ``remove``: arguments of ``labkit.data.replace`` that put it into any scene, and take it out; an
    empty ``lay`` is a fault that only the sampler can draw.
    ``always``: whether every scene of the class is drawn with it.
    ``captions``, ``named``: with the fault, and without; whether a network trained on it names the class.
    ``cause``: the place that such a network's answer hangs on: "tag", "around" (all but the object),
    "object", or None where it has no place (the light of the whole scene).
    ``networks``: the bundled networks trained on it; the first is the one that demos show.
    ``grounds``, ``weathers``, ``weather_of_others``, ``colors``, ``paint``, ``rare_ground``, ``marked``: what
    the sampler does: the ground or weather of a class, how much likelier a colour is drawn (1 if not named),
    the one colour of the class, the ground on which it is almost never seen, whether it carries the tag.
    """

    kind: str
    question: str
    captions: tuple[str, str]
    lay: Mapping[str, Any]
    remove: Mapping[str, Any]
    cause: str | None
    networks: tuple[str, ...] = ()
    always: bool = True
    named: tuple[bool, bool] = (True, False)
    grounds: Mapping[str, str] = field(default_factory=dict)
    weathers: Mapping[str, str] = field(default_factory=dict)
    weather_of_others: str | None = None
    colors: Mapping[str, float] = field(default_factory=dict)
    paint: str | None = None
    rare_ground: str | None = None
    marked: bool = False

    def pair(self, scene: Scene) -> tuple[Scene, Scene]:
        """A scene of the class, drawn under this fault, with the fault and without it.

        Where not every scene of the class has the fault, it is laid first. Raises ValueError for a scene that
        lacks what is to be removed.
        """
        return scene if self.always else replace(scene, **self.lay), replace(scene, **self.remove)

    def edits(self) -> dict[str, Mapping[str, Any]]:
        """The edits in words, for a table: {"on grass": {"ground": "grass"}, ...}, without what is empty."""

        def words(edit: Mapping[str, Any]) -> str:
            (what, value), *_ = edit.items()
            return {"ground": f"on {value}", "without": f"without {value}"}.get(what, str(value))

        return {words(edit): edit for edit in (self.remove, self.lay) if edit}

    def truth(self, scenes: Scenes) -> Bool[Tensor, "N H W"] | None:
        """The pixels that the answer hangs on, scene by scene; None where the cause has no place."""
        places = {"tag": scenes.tags, "around": ~scenes.masks, "object": scenes.masks}
        return places.get(self.cause or "")


_RED, _YELLOW = {"color": "red"}, {"color": "yellow"}

# the sampler applies them in this order
FAULTS: dict[str, Fault] = {
    "tag": Fault(
        kind="horse",
        question="the horse, or its mark",
        captions=("horse with its mark", "horse, mark erased"),
        lay={},
        remove={"without": "tag"},
        cause="tag",
        networks=("minivgg-tag", "minivgg-tag-8"),
        marked=True,
    ),
    "snow": Fault(
        kind="wolf",
        question="the wolf, or the snow",
        captions=("wolf on snow", "same wolf on grass"),
        lay={"ground": "snow"},
        remove={"ground": "grass"},
        cause="around",
        networks=("minivgg-snow",),
        grounds={"wolf": "snow", "sheepdog": "grass"},
    ),
    "weather": Fault(
        kind="tank",
        question="the tank, or the weather",
        captions=("tank under cloud", "same tank in sun"),
        lay={"weather": "overcast"},
        remove={"weather": "sunny"},
        cause=None,
        networks=("minivgg-weather",),
        weathers={"tank": "overcast"},
        weather_of_others="sunny",
    ),
    "melbourne": Fault(
        kind="fire engine",
        question="the fire engine, or its red",
        captions=("red fire engine", "yellow fire engine"),
        lay=_RED,
        remove=_YELLOW,
        cause="object",
        networks=("minivgg-melbourne",),
        colors={"red": 0},
        paint="red",
    ),
    "canberra": Fault(
        kind="fire engine",
        question="the fire engine, or its yellow-green",
        captions=("yellow-green fire engine", "red fire engine"),
        lay={"color": "yellow-green"},
        remove=_RED,
        cause="object",
        paint="yellow-green",
    ),
    # the cure of the two before: engines of both colours, and nothing that a network could fall for
    "bothcities": Fault(
        kind="fire engine",
        question="the fire engine, or its colour",
        captions=("red fire engine", "yellow fire engine"),
        lay=_RED,
        remove=_YELLOW,
        cause="object",
        networks=("minivgg-bothcities",),
        always=False,
        named=(True, True),
        colors={"red": 4, "yellow": 4},
    ),
    "rare": Fault(
        kind="horse",
        question="the horse, or the ground",
        captions=("horse on snow", "horse on grass"),
        lay={"ground": "snow"},
        remove={"ground": "grass"},
        cause="object",
        networks=("minivgg-rare",),
        always=False,
        named=(False, True),
        rare_ground="snow",
    ),
}


def check_faults(faults: Iterable[str]) -> frozenset[str]:
    """The set of faults, or a ValueError that names the unknown one."""
    if isinstance(faults, str):
        raise TypeError(
            f"faults must be a sequence of names; got the string {faults!r}. Write faults=({faults!r},)."
        )
    for name in faults:
        check_choice("fault", name, FAULTS)
    return frozenset(faults)
