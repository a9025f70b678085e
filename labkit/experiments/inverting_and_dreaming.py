"""What a layer keeps, lab 51: inversions by layer (S1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import CLASSES, MiniBroden, Scenes
from labkit.evaluation import twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.experiments.synthesis_judge import named
from labkit.models import borrow, features, record
from labkit.models.features import batches
from labkit.models.minivgg import MiniVGG

LAB = "51_inverting_and_dreaming"
LAYERS = {"conv1": "features.2", "conv2": "features.5", "conv4": "features.13", "conv6": "features.19"}
WEIGHTS = (0.0, 0.1, 1.0, 10.0)  # of the total variation
ALPHA_WEIGHT, RATE, STEPS = 0.01, 0.05, 100
Own = Callable[..., Any]


def features_of(model: nn.Module, layer: str) -> Callable[[Tensor], Tensor]:
    """What a layer gives, as a function of pictures; a bundled network is run to that layer only."""
    if isinstance(model, MiniVGG) and layer.startswith("features."):
        front = model.features[: int(layer.partition(".")[2]) + 1]
        grey, mean, std = model.grey, model.mean, model.std

        def early(images: Tensor) -> Tensor:
            seen = images.mean(1, keepdim=True).expand(-1, 3, -1, -1) if grey else images
            return front((seen - mean) / std)

        return early

    def whole(images: Tensor) -> Tensor:
        with record(model, layer) as kept:
            model(images)
        return kept[layer]

    return whole


def grey_start(count: int, side: int = 128) -> Float[Tensor, "N 3 H W"]:
    """The same faint noise about grey for each picture."""
    noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return (0.5 + 0.05 * noise).clamp(0, 1).repeat(count, 1, 1, 1)


def others_of_the_world() -> ndarray:
    """The pictures that a twin takes its batch statistics from."""
    return MiniBroden(128, "train").pictures()[0]


def inverted(
    model: nn.Module, layer: str, pictures: Float[Tensor, "N 3 H W"], tv_weight: float, steps: int, *,
    total_variation: Own, inversion_loss: Own, search: Own,
) -> tuple[Float[Tensor, "N 3 H W"], Float[Tensor, " N"]]:  # fmt: skip
    """The inversions of pictures at a layer by one's own functions, and the relative error that is left."""
    with borrow(model, frozen=True):
        seen_by = features_of(model, layer)
        with torch.no_grad():
            goal = seen_by(pictures.clone())

        def loss(images: Tensor, smooth: float = tv_weight, bound: float = ALPHA_WEIGHT) -> Tensor:
            variation = total_variation(images, 2)
            return inversion_loss(seen_by(images), goal, images, variation, bound, smooth)

        start = grey_start(len(pictures), pictures.shape[-1])
        made = search(lambda images: loss(images).sum(), start, steps, RATE)
        with torch.no_grad():
            return made, loss(made, 0.0, 0.0)


def correlation_of(first: Float[Tensor, "N 3 H W"], second: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    """Pearson's correlation of each pair of pictures over all their values."""
    a, b = (images.flatten(1) - images.flatten(1).mean(1, keepdim=True) for images in (first, second))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)


def written(total_variation: Own, inversion_loss: Own, search: Own, correlation: Own) -> None:
    """Call each on something tiny: who has not written one is told at once."""
    tiny = torch.linspace(0, 1, 96).view(2, 3, 4, 4)
    inversion_loss(tiny, tiny + 1, tiny, total_variation(tiny, 2), 0.1, 0.1)
    search(lambda images: (images**2).sum(), tiny, 1, 0.1)
    correlation(tiny, tiny.flip(2))


# ---- S1: deeper layers keep less


def _nearest(pictures: Tensor, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Of 100 other scenes the one nearest to each picture in the network's last features, and its class."""
    pool, labels = MiniBroden(100, "train").pictures()
    away = torch.cdist(*(features(model, p, LAYERS["conv6"], pool="mean") for p in (pictures, pool)))  # type: ignore[arg-type]
    near = away.argmin(1)
    return next(batches(pool[near.numpy()])), torch.as_tensor(labels)[near]


def _kept(made: Tensor, shown: Scenes) -> Interval:
    """How often the judge names the class of a picture in what was made of it, where it knew the picture."""
    knew = named(shown.images) == shown.labels
    same = (named(made) == shown.labels)[knew]
    return share(same.numpy()) if len(same) else Interval(0.0, 0.0, 1.0)


def _range(values: Tensor) -> Interval:
    return Interval(float(values.mean()), float(values.min()), float(values.max()))


@experiment(
    "S1", LAB, total_variation="style.total_variation", inversion_loss="style.inversion_loss",
    search="style.search", correlation="style.correlation",
)  # fmt: skip
def s1(bench: Bench, *, total_variation: Own, inversion_loss: Own, search: Own, correlation: Own) -> Result:
    """Does each deeper layer keep less of a picture, and does it keep the class?"""
    own = {"total_variation": total_variation, "inversion_loss": inversion_loss, "search": search}
    written(**own, correlation=correlation)
    shown = bench.firsts(bench.count(12, lesson=3, few=2))
    pictures, steps, few = shown.images, bench.steps(STEPS, 3), bench.count(4, lesson=1, few=1)
    names = bench.seeds if bench.mode == "full" else bench.seeds[:1]
    first, draws = bench.network(names[0]), range(3 if bench.mode == "full" else 1)
    curve: dict[str, dict[str, list[float]]] = {}
    chosen: dict[str, float] = {}
    made: dict[tuple[str, str], Tensor] = {}
    alike: dict[tuple[str, str], Tensor] = {}
    jobs = len(LAYERS) * (len(WEIGHTS) + len(names) + 1) + len(draws) - 1
    with working("inverting", jobs, "layer") as work:
        done = iter(range(1, jobs + 1))

        def invert(model: nn.Module, layer: str, given: Tensor, weight: float) -> tuple[Tensor, Tensor]:
            found = inverted(model, LAYERS[layer], given, weight, steps, **own)
            work.at(next(done))
            return found

        for layer in LAYERS:
            tried = [invert(first, layer, pictures[:few], weight) for weight in WEIGHTS]
            errors = [float(error.mean()) for _, error in tried]
            near = [float(correlation(images, pictures[:few]).mean()) for images, _ in tried]
            curve[layer] = {"error": errors, "correlation": near}
            chosen[layer] = WEIGHTS[errors.index(min(errors))]
        for name in names:
            for layer in LAYERS:
                made[name, layer], _ = invert(bench.network(name), layer, pictures, chosen[layer])
                alike[name, layer] = correlation(made[name, layer], pictures)
        for draw in draws:
            random = twin(first, others_of_the_world(), seed=draw)
            for layer in LAYERS if draw == 0 else ("conv6",):
                found, _ = invert(random, layer, pictures, chosen[layer])
                made[f"twin {draw}", layer] = found
                alike[f"twin {draw}", layer] = correlation(found, pictures)

    def falls(name: str) -> Tensor:
        row = torch.stack([alike[name, layer] for layer in LAYERS])
        return row[:-1] - row[1:]

    untrained = torch.stack([alike[f"twin {draw}", "conv6"] for draw in draws]).mean(0)
    near, near_labels = _nearest(pictures, first)  # type: ignore[assignment]
    others, colour = pictures.roll(1, 0), pictures.mean((2, 3), keepdim=True).expand_as(pictures)
    deep = made[names[0], "conv6"]
    beside = {
        "trained": extent(_range(alike[name, "conv6"]) for name in names),
        "twin": _range(untrained),
        "unrelated scene": _range(correlation(others, pictures)),
        "nearest of 100": _range(correlation(near, pictures)),
        "own mean colour": _range(correlation(colour, pictures)),
    }
    return Result(
        (
            Measure(
                "fall of the correlation from one layer to the next, every picture",
                extent(_range(falls(name)) for name in names), "> 0 (lower bound)",
                control={"twin": _range(falls("twin 0"))},
            ),
            Measure(
                "class kept by the inversion of conv6, says the judge",
                extent(_kept(made[name, "conv6"], shown) for name in names), ">= 0.9",
                control={
                    "twin": _kept(made["twin 0", "conv6"], shown),
                    "nearest of 100": share((near_labels == shown.labels).numpy()),
                    "unrelated scene": _kept(others, shown),
                    "own mean colour": _kept(colour, shown),
                },
                must={"unrelated scene": "< 0.5", "own mean colour": "< 0.5"},
            ),
            Measure(
                "correlation at conv6, trained minus twin",
                extent(bootstrap((alike[name, "conv6"] - untrained).numpy()) for name in names),
                "< 0 (upper bound)", control=beside,
            ),
        ),
        notes=(
            "weight of the total variation by layer: "
            + ", ".join(f"{layer} {weight:g}" for layer, weight in chosen.items()),
            f"the judge names {float((named(pictures) == shown.labels).float().mean()):.2f} of the pictures",
        ),
        show={
            "pictures": pictures, "layers": list(LAYERS), "weights": WEIGHTS, "curve": curve,
            "inversions": {layer: made[names[0], layer] for layer in LAYERS},
            "twin": {layer: made["twin 0", layer] for layer in LAYERS},
            "correlations": {
                "trained": [_range(alike[names[0], layer]) for layer in LAYERS],
                "untrained twin": [_range(alike["twin 0", layer]) for layer in LAYERS],
            },
            "judge": [CLASSES[int(k)] for k in named(deep)],
        },
    )  # fmt: skip
