"""What an experiment works with: the bench, which gives it networks and scenes in three sizes.

An experiment is the measuring body of one claim, ``a12(bench, **own) -> Result``: it takes the functions of
the exercises that it rests on by name and says what it measured, beside what, and what there is to draw. It
prints nothing and holds no prose.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive
from labkit.data import MiniBroden, Scene, Scenes, gather
from labkit.experiments.measures import Measure, Result, extent, meets
from labkit.models import load_model

__all__ = [
    "EXPERIMENTS",
    "LABS",
    "MODES",
    "SEEDS",
    "Bench",
    "Experiment",
    "Measure",
    "Result",
    "answers",
    "experiment",
    "experiments",
    "extent",
    "meets",
    "right",
]

MODES = ("quick", "class", "full")
SEEDS = ("minivgg", "minivgg-2", "minivgg-3")  # one design and world, three trainings


@cache
def _network(name: str) -> nn.Module:
    return load_model(name)


@dataclass
class Bench:
    """Where experiments get networks and scenes, and how many of them.

    ``mode`` is "full" (the size at which a claim is measured), "class" (a size for a lesson) or "quick" (a
    few scenes, which show that everything runs; the numbers mean nothing). ``guest`` is a network of one's
    own with its photographs, in place of the bundled ones wherever no planted truth is needed.
    """

    mode: str = "full"
    guest: tuple[nn.Module, Float[Tensor, "N 3 H W"]] | None = None

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)

    @property
    def quick(self) -> bool:
        """Whether only a few scenes are to be taken."""
        return self.mode == "quick"

    def count(self, n: int, *, lesson: int | None = None, few: int = 6) -> int:
        """``n`` in full, ``lesson`` (a quarter, at least a dozen) in class, ``few`` in quick mode."""
        check_positive("n", n)
        if self.mode == "full":
            return n
        if self.mode == "class":
            return min(n, lesson if lesson is not None else max(12, n // 4))
        return min(n, few)

    def steps(self, n: int, few: int = 8) -> int:
        """``n`` steps of a search, or a few in quick mode: a search that is cut short is another method."""
        return min(n, few) if self.quick else n

    @property
    def seeds(self) -> tuple[str, ...]:
        """The networks of one design, three trainings; in quick mode the first."""
        return SEEDS[:1] if self.quick else SEEDS

    def network(self, name: str) -> nn.Module:
        """A network by name (see ``labkit.models.load_model``), loaded once."""
        return _network(name)

    def subjects(self, n: int, *names: str) -> list[tuple[nn.Module, Float[Tensor, "N 3 H W"]]]:
        """Networks, each with ``n`` pictures of different classes, for what needs no planted truth.

        The guest and its photographs, or else ``names`` (default: ``seeds``) with the first test scenes.
        """
        if self.guest is not None:
            return [(self.guest[0], self.guest[1][:n])]
        images = self.firsts(n).images
        return [(self.network(name), images) for name in names or self.seeds]

    def firsts(self, n: int) -> Scenes:
        """The first test scene of each class, for ``n`` classes in the order in which they come."""
        data = MiniBroden(400, "test")
        seen: dict[str, Scene] = {}
        for index in range(len(data)):
            scene = data.scene(index)
            seen.setdefault(scene.objects[0].kind, scene)
            if len(seen) == n:
                break
        return gather(seen.values())

    def scenes(
        self,
        n: int,
        split: str = "test",
        *,
        faults: Iterable[str] = (),
        kind: str | None = None,
        not_kind: str | None = None,
        objects: int = 1,
        lesson: int | None = None,
    ) -> Scenes:
        """The first ``n`` scenes of a split (fewer in class and quick mode), of one class or of all others.

        Raises ValueError for an unknown split, fault or class.
        """
        check_positive("n", n)
        data = MiniBroden(40 * n, split, faults=faults, objects=objects)
        wanted = []
        for index in range(len(data)):
            scene = data.scene(index)
            own = scene.objects[0].kind
            if (kind is None or own == kind) and own != not_kind:
                wanted.append(scene)
            if len(wanted) == self.count(n, lesson=lesson):
                return gather(wanted)
        raise ValueError(
            f"kind must be a class of the world, one of {MiniBroden.names['label']}; got {kind!r}."
        )


def answers(model: nn.Module, images: Float[Tensor, "N 3 H W"], batch: int = 64) -> Int[Tensor, "N"]:  # noqa: F821
    """The class that the model names for each picture."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in images.split(batch)])


def right(
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    labels: Int[Tensor, "N"],  # noqa: F821
) -> Bool[Tensor, "N"]:  # noqa: F821
    """Whether the model names each picture's label."""
    return answers(model, images) == labels


@dataclass(frozen=True)
class Experiment:
    """A claim's experiment: its id, notebook, function, and ``own``: argument -> exercise that it is from."""

    id: str
    lab: str
    run: Callable[..., Result]
    own: Mapping[str, str]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(id: str, lab: str, **own: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Enter a function as the experiment of a claim; ``own`` says which exercise each argument comes from.

    @experiment("A1", "21_which_pixels_matter", occlude="attribution.occlude")
    def a1(bench, *, occlude): ...
    """

    def enter(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def run(bench: Bench, **given: Any) -> Result:
            missing, strange = set(own) - set(given), set(given) - set(own)
            if missing or strange:
                raise TypeError(
                    f"the experiment {id} takes {', '.join(own) or 'no functions'} by name; "
                    f"missing: {sorted(missing)}, unknown: {sorted(strange)}."
                )
            return replace(function(bench, **given), id=id, uses=tuple(own.values()))

        EXPERIMENTS[id] = Experiment(id, lab, run, dict(own))
        return run

    return enter


LABS = (
    "feature_space",
    "units_and_patches",
    "what_excites_a_unit",
    "which_pixels_matter",
    "gradients_and_their_tricks",
    "learned_masks",
    "surrogates_and_shapley",
    "can_you_trust_a_heatmap",
    "known_causes",
    "adversarial_masks",
    "filters",
    "generator_prior",
    "testing_with_concepts",
    "dissecting_a_network",
    "training_factors",
    "concepts_are_vectors",
    "distributed_concepts",
    "finding_and_fixing",
    "looking_without_a_hypothesis",
    "fooling_a_network",
    "attacks_without_the_weights",
    "printed_squares",
    "defences_and_how_they_fall",
    "robust_training",
    "inverting_and_dreaming",
    "dreaming_layers",
    "textures_and_grams",
    "style_and_content",
    "style_networks",
    "methods_table",
)


def experiments() -> dict[str, Experiment]:
    """Every claim's experiment by its id, in the order of the labs."""
    for name in LABS:
        importlib.import_module(f"labkit.experiments.{name}")
    order = sorted(EXPERIMENTS.values(), key=lambda e: (e.lab, e.id[0], int(e.id[1:])))
    return {e.id: e for e in order}
