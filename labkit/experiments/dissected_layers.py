"""A layer held against label maps: IoU, ceiling, the floor of other pictures' labels; a network in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.dissection import Counts, unit_counts
from labkit.concepts.thresholds import unit_thresholds
from labkit.data import MiniBroden, SceneStack
from labkit.evaluation import other_pictures

__all__ = [
    "BAU",
    "DETECTS",
    "KINDS",
    "QUANTILE",
    "Found",
    "Interpretability",
    "dissected",
    "interpretability",
]

KINDS = ("scene", "object", "part", "material", "texture", "color")
MARKS = ("striped", "spotted")  # textures that go with zebra and cow here: they tell the class
QUANTILE, DETECTS, BAU = 0.02, 0.10, 0.04
Own = Callable[..., Any]


class Found(NamedTuple):
    """A layer held against label maps: each unit's IoU with each label and its ceiling (K, C), the same with
    the label maps of other pictures, and which labels are ``testable`` (C,) at this quantile by their share
    of the pixels alone, so that these are the same for all networks."""

    labels: tuple[tuple[str, str], ...]
    iou: Float[Tensor, "K C"]
    ceiling: Float[Tensor, "K C"]
    other_iou: Float[Tensor, "K C"]
    other_ceiling: Float[Tensor, "K C"]
    testable: Bool[Tensor, " C"]

    def of(self, *kinds: str) -> Bool[Tensor, " C"]:
        """Which labels are of these kinds, the textures that tell a class left out."""
        return torch.tensor([kind in kinds and name not in MARKS for kind, name in self.labels])

    def share(self, *kinds: str, other: bool = False) -> float:
        """The mean over testable labels: the best unit's IoU over its ceiling. 0 where none is testable."""
        chosen = self.of(*(kinds or KINDS)) & self.testable
        iou, ceiling = (self.other_iou, self.other_ceiling) if other else (self.iou, self.ceiling)
        if not chosen.any():
            return 0.0
        best = iou[:, chosen].argmax(0, keepdim=True)
        top, most = (values[:, chosen].gather(0, best) for values in (iou, ceiling))
        return float((top / most.clamp(min=1e-9)).mean())

    @property
    def mean_best(self) -> Float[Tensor, " K"]:
        """Each unit's IoU with the label it fits best."""
        return self.iou.amax(1)

    def unique(
        self, unique_detectors: Own, *kinds: str, iou: float = DETECTS, other: bool = False
    ) -> list[int]:
        """The labels of these kinds that have a detector; a unit detects what it fits best of all kinds."""
        found = unique_detectors(self.other_iou if other else self.iou, iou)
        chosen = torch.tensor([kind in (kinds or KINDS) for kind, _ in self.labels])
        return (torch.as_tensor(found) & chosen).nonzero()[:, 0].tolist()

    def cap(self, *kinds: str, iou: float = DETECTS) -> int:
        """How many labels of these kinds could have a detector: their best ceiling is 1.5 times the IoU."""
        chosen = torch.tensor([kind in (kinds or KINDS) for kind, _ in self.labels])
        return int(((self.ceiling.amax(0) >= 1.5 * iou) & chosen).sum())

    def units(self, *kinds: str, iou: float = DETECTS) -> int:
        """How many units detect a label of these kinds."""
        best, label = self.iou.max(1)
        chosen = torch.tensor([kind in (kinds or KINDS) for kind, _ in self.labels])
        return int(((best > iou) & chosen[label]).sum())


def iou_and_ceiling(both: Tensor, unit: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and its ceiling from pixels counted: where both are (K, C), the units (K,) and the labels (C,)."""
    each = unit[:, None].double()
    most = torch.minimum(each, label.double()) / torch.maximum(each, label.double()).clamp(min=1)
    return both / (unit[:, None] + label - both).clamp(min=1), most


def _detectors(iou: Tensor, threshold: float) -> Tensor:
    best, label = iou.max(1)
    return torch.bincount(label[best > threshold], minlength=iou.shape[1]) > 0


def dissected(
    model: nn.Module,
    stack: SceneStack,
    layer: str,
    *,
    kinds: Sequence[str] = KINDS,
    quantile: float = QUANTILE,
    detects: float = DETECTS,
    rotation: Tensor | None = None,
    floor: bool = True,
    iou_and_ceiling: Own = iou_and_ceiling,
) -> Found:
    """Dissect a layer once, by the scenes' label maps and by those of other scenes together.

    ``floor``: whether the latter are counted; else their IoU is 0."""
    order = other_pictures(len(stack)).numpy()
    maps: dict[str, ndarray] = {}
    names: dict[str, tuple[str, ...]] = {}
    for kind in kinds:
        own = np.asarray(stack.maps[kind])
        maps |= {kind: own} | ({f"{kind}, other": own[order]} if floor else {})
        names |= dict.fromkeys((kind, f"{kind}, other"), tuple(MiniBroden.names[kind][1:]))
    given: dict[str, Any] = {"layer": layer, "rotation": rotation}
    thresholds = unit_thresholds(model, stack.images, quantile=quantile, **given)
    counts = unit_counts(model, stack.images, maps=maps, names=names, thresholds=thresholds, **given)
    return _found(counts, names, kinds, quantile, detects, iou_and_ceiling)


def _found(
    counts: Counts, names: Mapping[str, tuple[str, ...]], kinds: Sequence[str], q: float, detects: float,
    judged: Own,
) -> Found:  # fmt: skip
    tables: dict[bool, list[tuple[Tensor, Tensor]]] = {False: [], True: []}
    shares = []
    for g, kind in enumerate(counts.kinds):
        here, other = counts.kind == g, kind.endswith(", other")
        iou, most = judged(counts.both[:, here], counts.unit[:, g], counts.label[here])
        tables[other].append((iou.float(), most.float()))
        if not other:
            shares.append(counts.label[here] / counts.seen[g].clamp(min=1))
    p = torch.cat(shares)
    nominal = torch.minimum(p, torch.tensor(q)) / torch.maximum(p, torch.tensor(q))
    if not tables[True]:
        tables[True] = [(torch.zeros_like(iou), most) for iou, most in tables[False]]
    both, others = ([torch.cat(part, 1) for part in zip(*tables[o], strict=True)] for o in (False, True))
    labels = tuple((kind, name) for kind in kinds for name in names[kind])
    return Found(labels, both[0], both[1], others[0], others[1], nominal >= 1.5 * detects)


class Interpretability(NamedTuple):
    """One network's row: ``unique`` detectors and how many there could be (``cap``), ``units`` that detect,
    the mean best IoU as a ``share`` of its ceiling over testable labels, the same and the unique detectors
    with label maps of other pictures (``floor``, ``floor_unique``), and the share by kind."""

    unique: int
    cap: int
    units: int
    share: float
    floor: float
    floor_unique: int
    by_kind: dict[str, float]


def interpretability(
    model: nn.Module,
    layer: str,
    stack: SceneStack,
    *,
    kinds: Sequence[str] = KINDS,
    quantile: float = QUANTILE,
    iou: float = DETECTS,
) -> Interpretability:
    """How interpretable a layer is, in one row: see ``Interpretability``. Errors as in ``dissect``."""
    found = dissected(model, stack, layer, kinds=kinds, quantile=quantile, detects=iou)
    return Interpretability(
        len(found.unique(_detectors, iou=iou)), found.cap(iou=iou), found.units(iou=iou), found.share(*kinds),
        found.share(*kinds, other=True), len(found.unique(_detectors, iou=iou, other=True)),
        {kind: found.share(kind) for kind in kinds},
    )  # fmt: skip
