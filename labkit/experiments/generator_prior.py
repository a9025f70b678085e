"""A generator as a prior, lab 13: are a class's preferred inputs realistic if a generator makes them (V8)?"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import CLASSES, MiniBroden, Scene, gather, replace
from labkit.experiments.bench import Bench, experiment, right
from labkit.experiments.measures import Measure, Result
from labkit.models.generator import Generator
from labkit.visualization import dgn_am_result

LAB = "13_what_excites_a_unit"
JUDGE = "minivgg-11"  # of another design and other scenes than what is ascended
ASCENDED = "minivgg-2"  # not the critic of the generator's training
STARTS = 3  # of each class
STEPS = 60


def bare(scene: Scene) -> Scene:
    """The scene's first object alone, in plain paint: the world that the generator was trained on."""
    alone = replace(scene, texture="plain", material="paint")
    for thing in scene.things[1:]:
        alone = replace(alone, without=thing.id)
    return alone


def halved(scenes: list[Scene]) -> Float[Tensor, "N 3 64 64"]:
    """Scenes as pictures of 64 pixels, as the generator makes them."""
    return F.avg_pool2d(gather(scenes).images, 2)


def enlarged(pictures: Float[Tensor, "N 3 h w"], side: int = 128) -> Float[Tensor, "N 3 H W"]:
    """Pictures at the networks' side."""
    return F.interpolate(pictures, size=side, mode="bilinear")


def named(judge: nn.Module, pictures: Tensor, labels: Tensor) -> Bool[Tensor, " N"]:
    """Whether the judge names each picture's class."""
    return right(judge, enlarged(pictures).clamp(0, 1), labels)


def best_of(
    model: nn.Module, generator: nn.Module, labels: Tensor, tries: int, draws: torch.Generator
) -> Float[Tensor, "N 3 h w"]:
    """For each label the picture of the random code, of any class, that the model likes best of ``tries``."""
    found = []
    with torch.no_grad():
        for label in labels.tolist():
            classes = torch.randint(len(CLASSES), (tries,), generator=draws)
            codes = generator.codes(classes, generator=draws)  # type: ignore[operator]
            made = torch.cat([generator(part) for part in codes.split(50)])
            liked = torch.cat([model(enlarged(part))[:, label] for part in made.split(50)])
            found.append(made[liked.argmax()])
    return torch.stack(found)


def nearest(pictures: Float[Tensor, "N 3 h w"], others: Float[Tensor, "M 3 h w"]) -> Float[Tensor, " N"]:
    """How far each picture is from the nearest of others: the root mean square over 16 x 16 colours."""
    own, known = (F.adaptive_avg_pool2d(part, 16).flatten(1) for part in (pictures, others))
    return torch.cdist(own, known).amin(1) / own.shape[1] ** 0.5


@experiment("V8", LAB)
def v8(bench: Bench) -> Result:
    """Does the judge name what a generator makes for a class, and more than of the best of as many codes?"""
    judge, model, maker = (bench.network(name) for name in (JUDGE, ASCENDED, "generator"))
    starts = bench.count(STARTS, lesson=1, few=1)
    labels = torch.arange(len(CLASSES)).repeat(starts)
    labels = labels[:2] if bench.quick else labels
    steps = bench.steps(STEPS, few=3)
    scenes, seen = MiniBroden(4000, "test"), dict.fromkeys(range(len(CLASSES)), 0)
    real: list[Scene] = []
    for label in labels.tolist():  # of each class the first, then the second, ...
        at = seen[label]
        while scenes.scene(at).objects[0].kind != CLASSES[label]:
            at += 1
        real.append(bare(scenes.scene(at)))
        seen[label] = at + 1
    pictures = halved(real)
    begun = maker.start_codes(len(labels), generator=torch.Generator().manual_seed(1))  # type: ignore[operator]
    dreamed = dgn_am_result(model, labels, maker, start=begun, steps=steps).images

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        raw = Generator(len(CLASSES)).eval()
    untrained = dgn_am_result(model, labels, raw, start=begun, steps=steps).images
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    free = dgn_am_result(
        model, labels, nn.Identity().eval(), start=(0.5 + 0.05 * noise).clamp(0, 1), steps=steps, rate=0.02,
        code_weight=0.0, limits=(0.0, 1.0),
    ).images  # fmt: skip
    best = best_of(model, maker, labels, steps, torch.Generator().manual_seed(2))

    shown = {
        "DGN-AM": dreamed, f"best of {steps} codes": best, "untrained generator": untrained,
        "free pixels": free, "real": pictures,
    }  # fmt: skip
    hits = {name: named(judge, made, labels).float().numpy() for name, made in shown.items()}

    def of_real(name: str) -> Interval:
        return bootstrap(
            np.stack([hits[name], hits["real"]], 1),
            lambda rows: rows[:, 0].mean() / max(rows[:, 1].mean(), 0.01),
        )

    trained = MiniBroden(9000, "train", 2)  # what the generator was trained on
    known = halved([bare(trained.scene(i)) for i in range(bench.count(800, lesson=150, few=4))])
    away = nearest(dreamed, known) / nearest(pictures, known).median()
    gain = bootstrap(hits["DGN-AM"] - hits[f"best of {steps} codes"])
    return Result(
        (
            Measure(
                "named by the judge, over real pictures of 64 px", of_real("DGN-AM"), ">= 0.6",
                control={
                    **{name: of_real(name) for name in ("untrained generator", "free pixels")},
                    "distance to the nearest training scene, over a new scene's": bootstrap(away.numpy()),
                },
                must={
                    "untrained generator": "< 0.6",
                    "distance to the nearest training scene, over a new scene's": ">= 0.5",
                },
            ),
            Measure(
                f"named: DGN-AM minus the best of {steps} random codes", gain, "> 0 (lower bound)",
                control={name: share(h.astype(bool)) for name, h in hits.items()},
            ),
        ),
        notes=(f"ascended {ASCENDED}, judged by {JUDGE}; {len(labels)} pictures of each kind",),
        show={"pictures": shown, "labels": labels, "hits": hits},
    )  # fmt: skip
