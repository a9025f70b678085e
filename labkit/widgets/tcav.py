"""TCAV explorer: what concepts do to a class, beside what chance gives and what re-drawing does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets as T
from torch import Tensor

from labkit.core.checks import check_class, check_images, check_positive
from labkit.widgets.kit.concept_tests import Tests, as_pictures, map_layers
from labkit.widgets.kit.embeddings import atlas, folder_pictures
from labkit.widgets.kit.page import module, text_of
from labkit.widgets.kit.photographs import PhotographExplorer
from labkit.widgets.kit.pictures import pixels
from labkit.widgets.kit.worker import Stopped

__all__ = ["TcavExplorer"]

Stale = Callable[[], bool]
OWN = "your pictures"
SHOWN = 9  # pictures of a concept in the sheet


class TcavExplorer(PhotographExplorer):
    """Test concepts on a network: their TCAV scores among random concepts, and the logit by re-drawing.

    ``model``: an eval-mode classifier of pictures in [0, 1]; ``images``, ``labels``: pictures (N, 3, H, W) of
        the classes that may be asked about, at least 2 of each.
    ``concepts``: name -> pictures of it, at least 2, better 40. A set of one's own is added by hand.
    ``others``: pictures that random concepts are dealt from, at least twice as many as of any concept.
    ``pairs``: name of a concept -> ``(present, absent)``, the ``images`` drawn again with it and without it:
        what the counterfactual logit and the paired vector's effect are taken from.
    ``cav``: your own ``function(concept, others, penalty)`` of features (N, K) and (M, K) that returns a
        vector (K,); random concepts are fitted by the kit's all the same.
    ``layers``: names of layers; by default all ReLUs that give a map, or else convolutions.

    Vectors are fitted to the means of channels. Traits: ``picture`` (which concept), ``target`` (the class),
    ``layer`` (number on the slider), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for sets that are too small or pairs that are not as many as the images, IndexError for
    concepts, classes and layers that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
    ...                           torch.nn.Linear(144, 2)).eval()
    >>> TcavExplorer(net, torch.rand(4, 3, 8, 8), [0, 0, 1, 1], concepts={"bright": torch.rand(3, 3, 8, 8)},
    ...              others=torch.rand(9, 3, 8, 8))
    TcavExplorer(model=Sequential, concepts=['bright'], layers=['1'])
    """

    _esm = module("tcav.js")
    _css = text_of("kit/kit.css")

    picture = T.Int(0).tag(sync=True)
    target = T.Int(0).tag(sync=True)
    layer = T.Int(0).tag(sync=True)
    truth = T.Bool(False).tag(sync=True)
    measured = T.Bool(False).tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions: T.List = T.List(help="name, thumbnail and note of each concept").tag(sync=True)
    size = T.List([1, 1]).tag(sync=True)
    layers = T.List(T.Unicode(), help="the layers of the slider").tag(sync=True)
    asked = T.List(T.Int(), help="the classes that have pictures").tag(sync=True)
    shown: T.Dict = T.Dict(help="pictures of the concepts and of their pairs in one sheet").tag(sync=True)
    photo = T.Dict().tag(sync=True)
    delivery = T.Dict(help="the latest answer sent").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor,
        labels: Sequence[int] | Tensor,
        *,
        concepts: Mapping[str, Any],
        others: Any,
        pairs: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        layers: Sequence[str] | None = None,
        cav: Callable[..., Tensor] | None = None,
        random_concepts: int = 100,
        draws: int = 10,
        target: int | None = None,
        **traits: Any,
    ) -> None:
        from labkit.core.locks import check_model

        self.model, self.method = check_model(model), cav
        check_images(images)
        check_positive("random_concepts", random_concepts)
        check_positive("draws", draws)
        numbers = torch.as_tensor(labels).long()
        if len(numbers) != len(images):
            raise ValueError(f"labels must be one a picture, {len(images)}; got {len(numbers)}.")
        asked, counts = numbers.unique(return_counts=True)
        if int(counts.min()) < 2:
            few = int(asked[counts.argmin()])
            raise ValueError(f"images must be at least 2 of each class in labels; class {few} has one.")
        if not concepts:
            raise ValueError("concepts must name at least one set of pictures; got none.")
        given = pairs or {}
        for name, both in given.items():
            if name not in concepts or any(len(part) != len(images) for part in both):
                raise ValueError(
                    f"pairs[{name!r}] must be the {len(images)} images with and without a concept that is "
                    f"named in concepts, {list(concepts)}."
                )
        names = map_layers(self.model, images, layers)
        self._tests = Tests(self.model, images, numbers, others, given, names, random_concepts, draws, cav)
        for name, pictures in concepts.items():
            self._tests.add(name, as_pictures(pictures, f"concepts[{name!r}]"))
        count = self._tests.count_classes()
        classes = list(getattr(model, "classes", None) or [f"class {k}" for k in range(count)])
        for number in asked.tolist():
            check_class(number, count, "labels")
        self._answers: dict[tuple[int, int], dict[str, Any]] = {}
        first = int(asked[0]) if target is None else target
        super().__init__(**(
            {"classes": classes, "size": list(images.shape[-2:]), "layers": names, "asked": asked.tolist(),
             "captions": [self._caption(name) for name in concepts], "shown": self._sheet(), "target": first}
            | traits
        ))  # fmt: skip
        self.observe(self._changed, ["picture", "target", "layer", "watched"])
        self._request()

    def __repr__(self) -> str:
        name, model = type(self).__name__, type(self.model).__name__
        return f"{name}(model={model}, concepts={list(self._tests.concepts)}, layers={list(self.layers)})"

    # -- what Python code asks
    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """By concept what is known of the class and layer on view: score, p, z, effect, moved, and so on."""
        found = self._answers.get((self.target, self.layer), {"rows": []})["rows"]
        return {name: row for name, row in zip(self._tests.concepts, found, strict=False) if row}

    def precompute(
        self,
        concepts: Iterable[int] | None = None,
        targets: Iterable[int] | None = None,
        layers: Iterable[int] | None = None,
    ) -> None:
        """Test concepts for classes at layers before returning, all by default: an exported page has them."""
        self.wait_idle(None)
        wanted = range(len(self.captions)) if concepts is None else list(concepts)
        for layer in range(len(self.layers)) if layers is None else layers:
            for target in self.asked if targets is None else targets:
                for concept in wanted:
                    self._answer(concept, target, layer, lambda: False)
        if (self.target, self.layer) in self._answers:  # what a page finds must not be older than the rest
            self._deliver(self.target, self.layer)

    # -- the answers: for a class at a layer a row a concept, None where it was not tested
    def _changed(self, change: Any) -> None:
        self._request()

    def _work(self, stale: Stale) -> None:
        on_view = self.picture, self.target, self.layer
        if self._tests.size(on_view[0]) < 2:
            self._tell(status="ready", progress=1.0)
            return
        self._tell(error="", status="computing", progress=0.0)
        self._answer(*on_view, stale)
        self._deliver(*on_view[1:])
        if self.watched:
            keys = [(target, layer) for layer in range(len(self.layers)) for target in self.asked]
            keys.sort(key=lambda key: (key[1] != on_view[2], key[0] != on_view[1]))
            for done, key in enumerate(keys):
                for concept in range(len(self.captions)):
                    if self._tests.size(concept) >= 2:
                        self._answer(concept, *key, stale)
                self._tell(progress=done / len(keys), status="ready")
                self._deliver(*key)
        self._tell(status="ready", progress=1.0)
        self._deliver(*on_view[1:])  # what a page that was opened later is to find

    def _deliver(self, target: int, layer: int) -> None:
        self._tell(delivery=self._answers[target, layer] | {"sent": self.watched})

    def _answer(self, concept: int, target: int, layer: int, stale: Stale) -> None:
        if stale():
            raise Stopped
        kept = self._answers.get((target, layer), {"rows": []})["rows"]
        rows = [*kept, *[None] * (len(self.captions) - len(kept))]
        if rows[concept] is None:
            rows[concept] = self._tests.row(concept, target, layer)
        tested = self._tests.of_chance(layer, self._tests.size(concept), target)
        self._answers[target, layer] = {
            "kind": "test", "target": target, "layer": layer, "rows": rows, "constant": tested.constant,
            "draws": self._tests.draws,
        }  # fmt: skip

    def _saved(self) -> list[dict[str, Any]]:
        on_view = self.target, self.layer
        return [self._answers[key] for key in sorted(self._answers, key=lambda key: key != on_view)]

    # -- pictures
    def _caption(self, name: str, note: str = "") -> dict[str, Any]:
        pictures = self._tests.concepts[name]
        small = torch.nn.functional.interpolate(pictures[:1], (56, 56), mode="bilinear", antialias=True)[0]
        return {"name": name, "truth": "", "thumb": pixels(small), "note": note, "count": len(pictures)}

    def _sheet(self) -> dict[str, Any]:
        """Some pictures of each concept, and of each pair the first scene of every class."""
        tests, parts, places, pairs, at = self._tests, [], [], {}, 0
        for pictures in tests.concepts.values():
            parts.append(pictures[:SHOWN])
            places.append([at, len(parts[-1])])
            at += len(parts[-1])
        for name, (present, absent) in tests.pairs.items():
            number = list(tests.concepts).index(name)
            for target, first in tests.firsts().items():
                parts += [present[first][None], absent[first][None]]
                pairs[f"{number}|{target}"] = at
                at += 2
        return atlas(torch.cat(parts)) | {"places": places, "pairs": pairs}

    def load(self, path: str | Path) -> None:
        """Add the photograph at ``path``, or all of a folder, to the concept of your own pictures."""
        if Path(path).is_dir():
            images = folder_pictures(path, self.size[0])[0]
            self._show(images, "", f"All {len(images)} photographs of the folder {Path(path).name!r}.")
        else:
            super().load(path)

    def _show(self, image: Tensor, name: str, note: str) -> None:
        added = image if image.ndim == 4 else image[None]
        pictures = torch.cat([*([self._tests.concepts[OWN]] if OWN in self._tests.concepts else []), added])
        self._worker.stop()
        self._worker.wait(60)
        self._tests.add(OWN, pictures)
        place = list(self._tests.concepts).index(OWN)
        for answer in self._answers.values():
            answer["rows"] = [*answer["rows"][:place]]
        few = "" if len(pictures) > 1 else " A concept needs at least 2 pictures, better 30: add another."
        caption = self._caption(OWN, f"{note}{few}".strip())
        self._tell(captions=[*self.captions[:place], caption], shown=self._sheet(), picture=place)
        self._request()

    # -- legal values
    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if self.captions and not 0 <= proposal["value"] < len(self.captions):
            last, came = len(self.captions) - 1, proposal["value"]
            raise IndexError(f"picture must be the number of a concept, 0 to {last}; got {came}.")
        return proposal["value"]

    @T.validate("target")
    def _legal_target(self, proposal: Any) -> int:
        if self.asked and proposal["value"] not in self.asked:
            raise IndexError(f"target must be a class with pictures, {self.asked}; got {proposal['value']}.")
        return proposal["value"]

    @T.validate("layer")
    def _legal_layer(self, proposal: Any) -> int:
        if self.layers and not 0 <= proposal["value"] < len(self.layers):
            last, came = len(self.layers) - 1, proposal["value"]
            raise IndexError(f"layer must be the number of one of the layers, 0 to {last}; got {came}.")
        return proposal["value"]
