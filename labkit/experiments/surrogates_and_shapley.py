"""Surrogates and Shapley values, lab 24: do they add up (A6), and is a wolf told by the snow (A8)?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attribution import (
    deep_shap_result,
    integrated_gradients_result,
    kernel_shap_result,
    kernel_shap_values,
)
from labkit.attribution import shapley_values as exact_values
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import Scenes, gather, replace
from labkit.experiments.bench import Bench, answers, experiment
from labkit.experiments.lime import Own, OwnLime, ask_first, own_lime
from labkit.experiments.measures import Measure, Result

LAB = "24_surrogates_and_shapley"


# ---- husky or wolf


@experiment("A8", LAB, lime_weights="attribution.lime_weights", fit_surrogate="attribution.fit_surrogate")
def a8(bench: Bench, *, lime_weights: Own, fit_surrogate: Own) -> Result:
    """Did the network read the snow, and does LIME put its weight around the animal or on it?

    The honest network is the control, judged by thresholds of its own; beside LIME's sum over all pixels
    stands what one superpixel weighs, which the large background cannot raise.
    """
    ask_first(lime_weights, fit_surrogate)
    wolves, dogs = (
        bench.scenes(50, kind=kind, faults=("snow",), lesson=14).scenes[: 3 if bench.quick else None]
        for kind in ("wolf", "sheepdog")
    )
    before = gather([*wolves, *dogs])
    after = gather([replace(s, ground="grass") for s in wolves] + [replace(s, ground="snow") for s in dogs])
    measures, maps = [], {}
    for name, network, flip, weight in (
        ("snow", "minivgg-snow", ">= 0.5", "> 0 (lower bound)"),
        ("honest", "minivgg", "< 0.1", "< 0 (upper bound)"),
    ):
        model = bench.network(network)
        told = answers(model, before.images)
        flips = (told != answers(model, after.images))[told == before.labels]
        measures.append(Measure(f"{name}: repainting the ground flips", share(flips.numpy()), flip))
        found = own_lime(
            model, before.images, before.labels, lime_weights=lime_weights, fit_surrogate=fit_surrogate,
            samples=64 if bench.quick else 256,
        )  # fmt: skip
        value, control = _around_minus_on(found, before, len(wolves))
        measures.append(
            Measure(f"{name}: LIME weight around the animal minus on it", value, weight, "score", control)
        )
        maps["snow-trained" if name == "snow" else name] = found.map[[0, 1, -2, -1]]
    pictures = torch.stack([stack.images[k] for k in (0, -1) for stack in (before, after)])
    return Result(
        tuple(measures), show={"pictures": pictures, "animals": before.images[[0, 1, -2, -1]], "maps": maps}
    )


def _around_minus_on(found: OwnLime, scenes: Scenes, wolves: int) -> tuple[Interval, Mapping[str, Interval]]:
    """What LIME sums up around the animal minus on it, in mean superpixels; and what stands beside it."""
    on, around = scenes.masks, ~scenes.masks
    size = on[0].numel() / found.players  # pixels of a mean superpixel

    def weight(places: Tensor) -> Tensor:
        return (found.map * places).sum((1, 2))

    gap = ((weight(around) - weight(on)) / size).numpy()
    single = (weight(around) / around.sum((1, 2)) - weight(on) / on.sum((1, 2))).numpy()
    top = found.map == found.map.amax((1, 2), keepdim=True)  # the strongest superpixel, by its pixels
    there = (top & on).sum((1, 2)) > 0.5 * top.sum((1, 2))
    return bootstrap(gap), {
        "wolves alone": bootstrap(gap[:wolves]),
        "sheepdogs alone": bootstrap(gap[wolves:]),
        "one superpixel around minus one on it": bootstrap(single),
        "share in which the strongest superpixel lies on the animal": share(there.numpy()),
    }


# ---- parts that add up


@experiment(
    "A6",
    LAB,
    shapley_values="attribution.shapley_values",
    kernel_shap_weight="attribution.kernel_shap_weight",
)
def a6(bench: Bench, *, shapley_values: Own, kernel_shap_weight: Callable[[int, int], float]) -> Result:
    """Do the parts sum to the score difference, and is KernelSHAP Shapley where all coalitions are asked?

    Identities: no control could come near. An own network with photographs takes the place of the bundled.
    """
    games = _games(shapley_values, kernel_shap_weight)
    if bench.guest is None:
        asked = bench.scenes(20, lesson=2).images[: 2 if bench.quick else None]
        networks = {name: bench.network(name) for name in bench.seeds}
    else:
        asked = bench.guest[1][: bench.count(4, lesson=2, few=1)]
        networks = {"the network": bench.guest[0]}
    measures, notes = [], []
    for name, network in {**networks, "overlapping pooling": _overlapping()}.items():
        images = F.interpolate(asked, 32) if name == "overlapping pooling" else asked
        missed, short = _missed(network, images, bench.steps(4096, 64))
        notes.append(f"{name}: with 64 steps integrated gradients miss {short:.1e}")
        measures += [
            Measure(
                f"{name}, {method}: largest share of the difference that is missed",
                Interval(miss, 0.0, miss), "<= 1e-3",
            )
            for method, miss in missed.items()
        ]  # fmt: skip
    return Result((*measures, *games), tuple(notes))


def _overlapping() -> nn.Module:
    """A small network whose max pooling windows overlap, so that one unit may win in several of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.LazyLinear(5),
        ).eval()  # fmt: skip
        network(torch.zeros(1, 3, 32, 32))
    return network


def _missed(network: nn.Module, images: Tensor, steps: int) -> tuple[dict[str, float], float]:
    """The largest share of the score's difference to grey that each method's parts miss.

    The second number is that of integrated gradients with 64 steps, whatever they miss.
    """
    with torch.no_grad():
        logits = network(images)
    top, least = logits.argmax(1), 0.1 * float(logits.std())
    path = integrated_gradients_result(network, images, top, baseline="grey", steps=steps, tolerance=3e-4)
    short = integrated_gradients_result(network, images, top, baseline="grey", steps=64, tolerance=1e-9)
    rules = deep_shap_result(network, images, top, baselines="grey")
    kernel = kernel_shap_result(network, images, top, samples=160, fill="grey")
    difference = logits.gather(1, top[:, None])[:, 0] - kernel.intercept
    off = torch.stack([weights.sum() for weights in kernel.weights]) - difference

    def worst(residual: Tensor, difference: Tensor) -> float:
        return float((residual.abs() / difference.abs().clamp(min=least)).max())

    return {
        "integrated gradients": worst(path.residual, path.difference),
        "DeepSHAP": worst(rules.residual, rules.difference),
        "KernelSHAP": worst(off, difference),
    }, worst(short.residual, short.difference)


def _games(shapley_values: Own, kernel_shap_weight: Callable[[int, int], float]) -> list[Measure]:
    """Twenty games of seven players: KernelSHAP against Shapley, the library's and the exercises' own."""
    players, worst, own = 7, 0.0, 0.0
    bits = torch.tensor([[c >> i & 1 for i in range(players)] for c in range(2**players)])
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        game = torch.randn(2**players, generator=generator, dtype=torch.float64)

        def worth(coalitions: Tensor, game: Tensor = game) -> Tensor:
            return game[(coalitions * 2 ** torch.arange(players)).sum(1)]

        found = kernel_shap_values(worth, players) - exact_values(worth, players)
        worst = max(worst, float(found.abs().max()))
        mine = regression_shares(game, bits.double(), kernel_shap_weight) - shapley_values(game, players)
        own = max(own, float(mine.abs().max()))
    what = "KernelSHAP minus Shapley, all coalitions of 7 players"
    return [
        Measure(what, Interval(worst, 0.0, worst), "<= 1e-6"),
        Measure(what + ", by the exercises' functions", Interval(own, 0.0, own), "<= 1e-6"),
    ]


def regression_shares(
    game: Float[Tensor, " C"], bits: Float[Tensor, "C M"], weight: Callable[[int, int], float]
) -> Float[Tensor, " M"]:
    """Shapley values by the regression over all coalitions, weighed by size; both ends are held exactly."""
    players, rows = bits.shape[1], bits[1:-1]
    weights = torch.tensor([weight(players, int(row.sum())) for row in rows], dtype=torch.float64)
    gain = game[-1] - game[0]  # the last player takes what the others leave of it
    x, y = rows[:, :-1] - rows[:, -1:], game[1:-1] - game[0] - rows[:, -1] * gain
    first = torch.linalg.solve(x.T @ (weights[:, None] * x), x.T @ (weights * y))
    return torch.cat([first, (gain - first.sum())[None]])
