"""What the TCAV explorer tests with: features and slopes met once, random concepts, pairs of scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

__all__ = ["Chance", "Tests", "as_pictures", "map_layers"]

PENALTY = 0.01


def as_pictures(pictures: Any, name: str) -> Float[Tensor, "N C H W"]:
    """Bytes or numbers as a batch (N, C, H, W) in [0, 1]; ValueError for fewer than 2."""
    from labkit.models.features import batches

    if isinstance(pictures, Tensor | ndarray) and len(pictures) < 2:
        raise ValueError(f"{name} must be at least 2 pictures, better 40; got {len(pictures)}.")
    return torch.cat([part.detach().cpu().float() for part in batches(pictures)])


def map_layers(model: torch.nn.Module, images: Tensor, names: Sequence[str] | None) -> list[str]:
    """The layers to test at: those named, or the ReLUs that give a map, or else what gives one.

    Raises KeyError for a wrong layer, ValueError for a model without maps.
    """
    from labkit.core.hooks import find_layer
    from labkit.models import layer_shapes

    if names is not None:
        for name in names:
            find_layer(model, name)
        return list(names)
    shapes, kinds = layer_shapes(model, images[:1]), dict(model.named_modules())
    maps = [
        name for name, shape in shapes.items() if len(shape) == 4 and max(shape[2:]) > 1 and name in kinds
    ]
    found = [name for name in maps if "ReLU" in type(kinds[name]).__name__] or maps
    if not found:
        raise ValueError("model must have layers that give maps (N, K, h, w); name some in layers=.")
    return found


class Chance(NamedTuple):
    """What random concepts score for a class at a layer: ``scores`` (K, R); ``constant``: whether the
    gradient is the same for all pictures there."""

    scores: Float[Tensor, "K R"]
    constant: bool


class Tests:
    """The tests behind the explorer. Features are met once a layer, random concepts once a layer and size."""

    __test__ = False  # pytest takes a class of this name for one of its own

    def __init__(
        self, model: torch.nn.Module, images: Tensor, labels: Int[Tensor, " N"], others: Any,
        pairs: Mapping[str, tuple[Tensor, Tensor]], layers: Sequence[str], chances: int, draws: int,
        cav: Callable[..., Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.images, self.labels, self.layers = (
            model,
            images.detach().cpu().float(),
            labels,
            layers,
        )
        self.others = as_pictures(others, "others")
        self.pairs = {name: tuple(p.detach().cpu().float() for p in both) for name, both in pairs.items()}
        self.chances, self.draws, self.cav = chances, draws, cav
        self.concepts: dict[str, Tensor] = {}
        self._rows: dict[str, dict[str, Tensor]] = {}
        self._slopes: dict[int, tuple[Tensor, dict[int, bool]]] = {}
        self._chance: dict[tuple[int, int], Bool[Tensor, "K R N"]] = {}
        self._logits: dict[str, Tensor] = {}
        self._every: dict[tuple[int, str], Float[Tensor, "R N"]] = {}

    def add(self, name: str, pictures: Tensor) -> None:
        """A concept, or another set of pictures for it."""
        if 2 * len(pictures) > len(self.others):
            raise ValueError(
                f"others must be at least twice as many as the {len(pictures)} pictures of {name!r}, so that "
                f"random concepts can be dealt from them; got {len(self.others)}."
            )
        self.concepts[name] = pictures
        self._rows.pop(f"of {name}", None)
        self._every = {key: every for key, every in self._every.items() if key[1] != name}

    def size(self, concept: int) -> int:
        """How many pictures a concept has."""
        return len(list(self.concepts.values())[concept])

    def count_classes(self) -> int:
        """How many classes the model has."""
        from labkit.core.hooks import borrow

        with borrow(self.model), torch.no_grad():
            return int(self.model(self.images[:1].clone()).shape[-1])

    def firsts(self) -> dict[int, int]:
        """By class the number of its first picture."""
        return {int(k): int((self.labels == k).nonzero()[0]) for k in self.labels.unique()}

    # -- met once
    def _features(self, name: str, pictures: Tensor) -> dict[str, Tensor]:
        from labkit.models import features

        if name not in self._rows:
            found = features(
                self.model, pictures, list(self.layers), pool="mean", progress=lambda share: None
            )
            self._rows[name] = {layer: rows.flatten(1).double() for layer, rows in found.items()}
        return self._rows[name]

    def slopes(self, layer: int) -> tuple[Float[Tensor, "N K"], dict[int, bool]]:
        """Each picture's gradient of its class's logit by channels; by class whether it is constant."""
        from labkit.concepts.concept_vectors import is_constant, layer_gradients
        from labkit.concepts.directions import by_channel

        if layer not in self._slopes:
            with torch.inference_mode(False), torch.enable_grad():
                whole = layer_gradients(
                    self.model, self.images, self.labels, layer=self.layers[layer],
                    progress=lambda share: None,
                )  # fmt: skip
            same = {int(k): is_constant(whole[self.labels == k]) for k in self.labels.unique()}
            self._slopes[layer] = by_channel(whole).double(), same
        return self._slopes[layer]

    def _directions(self, layer: int, concept: str | None) -> Any:
        from labkit.concepts.directions import Directions

        name = self.layers[layer]
        rows = self._features("", self.others)[name]
        if concept is not None:
            rows = torch.cat([rows, self._features(f"of {concept}", self.concepts[concept])[name]])
        return Directions(rows, self.slopes(layer)[0], PENALTY)

    def of_chance(self, layer: int, size: int, target: int) -> Chance:
        """The scores of random concepts of as many pictures."""
        if (layer, size) not in self._chance:
            vectors, others = self._directions(layer, None), torch.arange(len(self.others))
            own = torch.Generator().manual_seed(0)
            self._chance[layer, size] = torch.stack([
                vectors.of_chance(others, size, self.draws, own) > 0 for _ in range(self.chances)
            ])  # fmt: skip
        shares = self._chance[layer, size][:, :, self.labels == target].double().mean(2)
        return Chance(shares, self.slopes(layer)[1][target])

    # -- a row
    def row(self, concept: int, target: int, layer: int) -> dict[str, Any]:
        """What is shown of a concept: its score among those of chance, and what pairs say."""
        from labkit.concepts.concept_tests import paper_p, z_among
        from labkit.core.statistics import rank_p

        name, size = list(self.concepts)[concept], self.size(concept)
        chance = self.of_chance(layer, size, target).scores
        if (layer, name) not in self._every:
            self._every[layer, name] = self._along(name, layer)
        every = self._every[layer, name]
        shares = (every[:, self.labels == target] > 0).double().mean(1)
        means, score = chance.mean(1), float(shares.mean())
        middle = float(means.mean())
        z = z_among(score, means)
        return {
            "score": score, "chance": middle, "z": z if abs(z) < 1e6 else None,
            "p": rank_p(score - middle, (means - middle).numpy(), side="both"),
            "paper": paper_p(shares, chance), "null": means.float().tolist(),
        } | self._of_pairs(name, target, layer)  # fmt: skip

    def _along(self, name: str, layer: int) -> Float[Tensor, "R N"]:
        """The derivatives along the concept's vectors, by the caller's function if there is one."""
        size, count, own = len(self.concepts[name]), len(self.others), torch.Generator().manual_seed(1)
        if self.cav is None:
            rows = torch.arange(count, count + size)
            return self._directions(layer, name).of_concept(rows, torch.arange(count), self.draws, own)
        concept, others = (
            self._features(key, pictures)[self.layers[layer]]
            for key, pictures in ((f"of {name}", self.concepts[name]), ("", self.others))
        )
        drawn = [others[torch.randperm(count, generator=own)[:size]] for _ in range(self.draws)]
        vectors = [self.cav(concept.clone(), rest, PENALTY) for rest in drawn]
        for vector in vectors:
            if not isinstance(vector, Tensor) or vector.shape != concept.shape[1:]:
                got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
                raise TypeError(f"cav must return a vector of the length {concept.shape[1]}; got {got}.")
        return torch.stack([self.slopes(layer)[0] @ vector.double() for vector in vectors])

    def _of_pairs(self, name: str, target: int, layer: int) -> dict[str, Any]:
        from labkit.core.statistics import bootstrap, permutation_test

        if name not in self.pairs:
            return {"effect": None, "effect_p": None, "moved": None}
        own = self.labels == target
        present, absent = (
            self._features(f"{name} {k}", part)[self.layers[layer]][own]
            for k, part in enumerate(self.pairs[name])
        )
        each = ((present - absent) @ self.slopes(layer)[0][own].mean(0)).numpy()
        test = permutation_test(each, repeats=500)
        return {
            "effect": float(test.value), "effect_p": test.p,
            "moved": list(bootstrap(self._moved(name)[own, target].numpy(), repeats=500)),
        }  # fmt: skip

    def _moved(self, name: str) -> Float[Tensor, "N C"]:
        """The logits with the thing less those without it."""
        from labkit.core.hooks import borrow
        from labkit.models.features import batches

        if name not in self._logits:
            with borrow(self.model), torch.no_grad():
                first, second = (
                    torch.cat([self.model(part.clone()).double().cpu() for part in batches(pictures)])
                    for pictures in self.pairs[name]
                )
            self._logits[name] = first - second
        return self._logits[name]
