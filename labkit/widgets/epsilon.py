"""Epsilon explorer: how small a step fools a network, beside steps of the same size that know nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive
from labkit.widgets.kit.attacking import (
    CONTROLS,
    SINGLE,
    WAYS,
    Attacks,
    as_nibbles,
    check_epsilons,
    counted,
    wanted_class,
)
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.embeddings import folder_pictures
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, private
from labkit.widgets.kit.worker import Stopped

__all__ = ["EpsilonExplorer"]

EPSILONS = tuple(level / 255 for level in (1, 2, 4, 8, 16, 32))


class EpsilonExplorer(PictureExplorer):
    """Drag epsilon: the picture attacked, its step, ten times its step, the answer, and two controls beside.

    ``models``: an eval-mode classifier of pictures in [0, 1], or several by name, with the same classes: the
        first is shown always, one of the others below it. A defended network is given like any other, and
        once more as ``.adaptive`` for the attacker who knows of the defence.
    ``images``: (N, 3, H, W), a list of pictures and paths, or the path of a folder of photographs.
    ``labels``: their true classes, numbers or names; None: what the first network names.
    ``epsilons``: the slider's stops, in picture values; 0 stands before them.
    ``steps``: of PGD at each epsilon.

    Ways: "fgsm", "pgd", "targeted" (PGD to the class ``target``; -1: one a picture, by lot); the controls
    "sign" (a random sign) and "other" (the sign of another picture's gradient); with several networks "lent"
    (PGD's pictures for the first network). Every count is of the pictures read rightly at epsilon 0.

    Traits: ``picture``, ``target``, ``way``, ``stop`` (number of the epsilon), ``network`` (the one below),
    ``controls`` (their pictures in the place of the steps), and ``status``, ``error``, ``progress``,
    ``cancel``.

    Errors: ValueError for epsilons that do not rise, networks of other classes and bad numbers, IndexError
    for pictures, classes, stops and networks that do not exist.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> EpsilonExplorer(net, torch.rand(2, 3, 2, 2), epsilons=[0.1], steps=1)
    EpsilonExplorer(model=Sequential, pictures=2, networks=['Sequential'], epsilons=1)
    """

    _esm = module("epsilon.js")
    ASKS = ("picture", "target", "way", "network")

    way = T.Unicode("fgsm").tag(sync=True)
    network = T.Int(0).tag(sync=True)
    stop = T.Int(0).tag(sync=True)
    controls = T.Bool(False, help="show the controls' pictures, not the steps").tag(sync=True)
    networks = T.List(T.Unicode()).tag(sync=True)
    ways = T.List(T.Unicode()).tag(sync=True)
    epsilons = T.List(T.Float()).tag(sync=True)
    wanted = T.List(T.Int(), help="by lot a class for each picture to be named").tag(sync=True)
    own = T.List(T.Int(), help="the true class of each picture").tag(sync=True)

    def __init__(
        self,
        models: nn.Module | Mapping[str, nn.Module],
        images: Any,
        *,
        labels: Sequence[Any] | Tensor | None = None,
        epsilons: Sequence[float] = EPSILONS,
        steps: int = 10,
        **given: Any,
    ) -> None:
        from labkit.core.locks import check_model

        check_positive("steps", steps)
        stops = check_epsilons(epsilons)
        named = models if isinstance(models, Mapping) else {type(models).__name__: models}
        if not named:
            raise ValueError("models must name at least one network; got none.")
        first = next(iter(named.values()))
        if isinstance(images, (str, Path)) and Path(images).is_dir():
            images, names = folder_pictures(images, getattr(first, "input_size", None) or 224)
            given = {"names": names} | given
        self.steps, self._given = steps, 0
        wants = {name: given.pop(name) for name in ("way", "stop", "network", "target") if name in given}
        super().__init__(first, images, labels=labels, **given)
        others = [private(check_model(model)) for model in list(named.values())[1:]]
        self._given = len(self.images)
        self.networks, self.epsilons = list(named), stops
        self.ways = [way for way in WAYS if way != "lent" or len(named) > 1]
        self.own = [self._true(label, i) for i, label in enumerate(_listed(labels, self._given))]
        self.wanted = [wanted_class(k, len(self.classes), i) for i, k in enumerate(self.own)]
        self._attacks = Attacks(
            [self.model, *others], self.images, list(self.own), stops, steps, self._given, self._placed
        )
        self._check_classes()
        start = {"stop": min(3, len(stops) - 1), "network": min(1, len(named) - 1)}
        for name, value in (start | wants).items():
            setattr(self, name, value)
        self._begin()

    def _said(self) -> str:
        return f"networks={list(self.networks)}, epsilons={len(self.epsilons) - 1}"

    def _check_classes(self) -> None:
        for number, name in enumerate(self.networks):
            count = self._attacks.scores(number, self._placed(self.images[0])).shape[1]
            if count != len(self.classes):
                raise ValueError(
                    f"models must answer with the same classes; {name!r} gives {count}, the first one "
                    f"{len(self.classes)}."
                )

    def _true(self, label: Any, picture: int) -> int:
        if label is None:
            return int(self._photo(picture)["top"][0])
        if isinstance(label, str):
            check_choice("labels", label, self.classes)
            return self.classes.index(label)
        return int(label)

    # -- what Python code asks
    @property
    def attacked(self) -> Float[Tensor, "2 3 H W"] | None:
        """The picture on view changed by the way and epsilon on view, for the first network and the one below
        (the same one, where there is only one); None while it waits."""
        keys = [self._key(network=n) for n in (0, self.network)]
        if any(key not in self._cache for key in keys):
            return None
        return torch.cat([self._attacks.tried(*key[1:]).images[[self.stop]] for key in keys]).cpu()

    @property
    def counts(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By network and way what was counted: ``right``, ``of``, and at each epsilon ``fooled`` and
        ``dead`` (how many pictures have a gradient that is exactly zero)."""
        found: dict[str, dict[str, Any]] = {}
        for i, name in enumerate(self.networks):
            answers = {way: self._cache.get(self._count_key(way, i)) for way in self.ways}
            found[name] = {way: answer for way, answer in answers.items() if answer}
        return found

    def precompute(
        self,
        pictures: Sequence[int] | None = None,
        *,
        ways: Sequence[str] | None = None,
        networks: Sequence[int] | None = None,
        count: bool = True,
    ) -> None:
        """Attack before returning: by default the picture on view, in all ways, for all networks.

        ``count``: also all the others, for how many are fooled. An exported page shows what was computed.
        """
        self.wait_idle(None)
        for way in self.ways if ways is None else ways:
            check_choice("ways", way, self.ways)
            for network in range(len(self.networks)) if networks is None else networks:
                for picture in [self.picture] if pictures is None else pictures:
                    self._answer(self._key(picture, way, network))
                if count:
                    self._answer(self._count_key(way, network))

    # -- the answers: a picture at every epsilon, for a way and a network; and the counts of all pictures
    def _aim(self, picture: int, way: str) -> int:
        if way != "targeted":
            return -1
        return self.target if self.target >= 0 else self.wanted[picture]

    def _key(self, picture: int | None = None, way: str | None = None, network: int = 0) -> tuple:
        picture, way = self.picture if picture is None else picture, self.way if way is None else way
        return ("steps", picture, way, network, self._aim(picture, way))

    def _count_key(self, way: str, network: int) -> tuple:
        return ("count", way, network, self.target if way == "targeted" else -1)

    def _wanted(self) -> list[tuple]:
        shown = dict.fromkeys([0, self.network])
        ways = list(dict.fromkeys([self.way, *CONTROLS]))
        views = [self._key(self.picture, way, n) for way in ways for n in shown]
        return views + [self._count_key(way, n) for way in ways for n in shown]

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        return (self._count if key[0] == "count" else self._steps)(key, stale, report)

    def _steps(self, key: tuple, stale: Stale, report: Report) -> Answer:
        _, picture, way, network, aim = key
        own = self.own[picture]
        if aim == own:
            raise ValueError(
                f"target must be another class than the picture's own, {self.classes[own]!r}, which it is "
                "named without an attack. Choose another class."
            )
        tried = self._attacks.tried(picture, way, network, aim, stale, report)
        moved = tried.images.float().cpu() - self.images[picture]
        named, still = self._attacks.named(key[1:], stale, tried)
        sizes = self.epsilons[1:]
        if way in ("lent", "sign") and network > 0:  # the page has these steps from the first network
            data = b""
        elif way in SINGLE:
            data = as_nibbles(self._attacks.sign(picture, way, network)[0], [1.0])
        else:
            data = as_nibbles(moved[1:], sizes)
        chances = self._attacks.scores(network, tried.images).softmax(1)
        return {
            "kind": "steps", "picture": picture, "way": way, "network": network, "target": aim,
            "single": way in SINGLE, "data": data, "named": named, "still": still,
            "p": {"dtype": "f4", "data": chances.numpy().tobytes()},
            "most": moved.abs().flatten(1).amax(1).tolist(),
        }  # fmt: skip

    def _count(self, key: tuple, stale: Stale, report: Report) -> Answer:
        _, way, network, target = key
        aims = [target if target >= 0 else self.wanted[i] for i in range(self._given)]
        rows: list[tuple[list[int], list[float]]] = []
        for picture in range(self._given):
            if stale():
                raise Stopped
            aim = aims[picture] if way == "targeted" else -1
            rows.append(self._attacks.named((picture, way, network, aim), stale))
            report((picture + 1) / self._given)
        named, still = (torch.tensor([row[k] for row in rows]) for k in (0, 1))
        wanted = torch.tensor(aims) if way == "targeted" else None
        found = counted(named, still, torch.tensor(self.own[: self._given]), wanted)
        return {"kind": "count", "way": way, "network": network, "target": target, **found}

    def _ahead(self, stale: Stale) -> None:
        """What costs one gradient; longer attacks wait until they are asked for."""
        for network in dict.fromkeys([0, self.network]):
            for way in ("fgsm", *CONTROLS):
                self._answer(self._key(self.picture, way, network), stale)

    def _saved(self) -> list[Answer]:
        answers = [answer for _, answer in self._cache.latest() if answer["kind"] != "photo"]
        steps = [answer for answer in answers if answer["kind"] == "steps"]
        photos = [self._photo(p) for p in dict.fromkeys([self.picture, *(a["picture"] for a in steps)])]
        return photos + [answer for answer in answers if answer["kind"] == "count"] + steps

    # -- a photograph of one's own: its class is what the first network names
    def _add(self, image: Tensor, name: str, truth: Any = None, note: str = "") -> None:
        super()._add(image, name, truth, note)
        if self._given:
            number = len(self.images) - 1
            self.own = [*self.own, self._true(None, number)]
            self._attacks.own.append(self.own[-1])
            self.wanted = [*self.wanted, wanted_class(self.own[-1], len(self.classes), number)]

    # -- legal values
    @T.validate("way")
    def _legal_way(self, proposal: Any) -> str:
        if self.ways:
            check_choice("way", proposal["value"], self.ways)
        return proposal["value"]

    @T.validate("stop", "network")
    def _legal_number(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        last = len(self.epsilons if name == "stop" else self.networks) - 1
        if last >= 0 and not 0 <= value <= last:
            raise IndexError(f"{name} must be from 0 to {last}; got {value}.")
        return value


def _listed(labels: Any, count: int) -> list[Any]:
    """A label a picture, or None for each."""
    if labels is None:
        return [None] * count
    return labels.tolist() if isinstance(labels, Tensor) else list(labels)
