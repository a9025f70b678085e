"""Style networks, lab 53: a style at once and the norm that helps (S5), many styles in one network (S6)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data.textures import texture
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.experiments.style_and_content import JUDGE, LAB, LOSS, Eye, eye, measured
from labkit.models.stylenet import ConditionalNorm, StyleNet
from labkit.optimize import minimize
from labkit.style import stylize
from labkit.style.gram import color_matched

SINGLE, BATCH = ("style-mosaic", "style-mosaic-2"), ("style-mosaic-batch", "style-mosaic-batch-2")
FOUR, MIXTURE, ALONE = "style-four", "style-mixture", ("style-mosaic", "style-marbling")
Own = Callable[..., Any]


def running_on(network: nn.Module, norm: Own) -> StyleNet:
    """A copy of a style network whose instance norms are a function of one's own."""
    own = copy.deepcopy(network)
    for module in own.modules():
        if isinstance(module, nn.InstanceNorm2d):
            object.__setattr__(module, "forward", partial(_plain, norm, module))
        if isinstance(module, ConditionalNorm):
            object.__setattr__(module, "forward", partial(_mixed, norm, module))
    return own  # type: ignore[return-value]


def _plain(norm: Own, module: nn.InstanceNorm2d, x: Tensor) -> Tensor:
    return norm(x, module.weight, module.bias)


def _mixed(norm: Own, module: ConditionalNorm, x: Tensor, mix: Tensor) -> Tensor:
    return norm(x, module.scale, module.shift, mix)


def on_itself(network: StyleNet, images: Tensor) -> Tensor:
    """What a network makes of pictures with the statistics of their own batch in its batch norms."""
    own = copy.deepcopy(network).train()
    with torch.no_grad():
        return own(images)


def untrained(like: StyleNet) -> StyleNet:
    """A network of the same design that nobody taught."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return StyleNet(like.styles, like.design).eval()


def weights_of(network: nn.Module) -> tuple[float, float]:
    """The weights of style and content that a bundled network was taught with."""
    recipe = network.card["recipe"]  # type: ignore[index]
    return float(recipe["style_weight"]), float(recipe["content_weight"])  # type: ignore[index]


def speed_up(
    by: Eye, network: StyleNet, content: Tensor, grams: dict[str, Tensor], most: int, content_loss: Own,
    style_loss: Own,
) -> tuple[float, int]:  # fmt: skip
    """The time of a search until it has the network's style loss, over the network's own; and its steps."""
    styled, kept = weights_of(network)
    once = []  # the process's own time: what else runs on the machine does not count
    for _ in range(3):
        begun = time.process_time()
        made = stylize(network, content)
        once.append(time.process_time() - begun)
    with torch.no_grad():
        goal = float(style_loss(by.features(made), grams, by.layers))
        stay = by.features(content)[by.content]
    images, now, steps = content.clone(), [float("inf")], [0]

    def loss(_: int) -> Tensor:
        shown = by.features(images)
        style = style_loss(shown, grams, by.layers)
        now[0], steps[0] = float(style.detach()), steps[0] + 1
        return (styled * style + kept * content_loss(shown[by.content], stay)).sum()

    begun = time.process_time()
    minimize(
        [images], loss, steps=most, rate=0.05, project=lambda _: images.clamp_(0, 1),
        progress=lambda share: None, should_stop=lambda: now[0] <= goal,
    )  # fmt: skip
    return (time.process_time() - begun) / max(float(np.median(once)), 1e-9), steps[0]


@experiment(
    "S5", LAB, content_loss="style.content_loss", style_loss="style.style_loss",
    instance_norm="style.instance_norm",
)  # fmt: skip
def s5(bench: Bench, *, content_loss: Own, style_loss: Own, instance_norm: Own) -> Result:
    """Does a network give the style at once, and is it better with instance norm than with batch norm?"""
    own = {"content_loss": content_loss, "style_loss": style_loss}
    x = torch.ones(1, 2, 2, 2)
    instance_norm(x, x[0, :, 0, 0], x[0, :, 0, 0])  # unwritten: say so at once
    style_loss({"a": x}, {"a": torch.ones(1, 2, 2)}, {"a": content_loss(x, x)})
    images, style = bench.scenes(30, lesson=12).images, texture("mosaic")[None]
    eyes = {name: eye(bench.network(name), name) for name in (LOSS, JUDGE)}
    grams = {name: by.grams(style) for name, by in eyes.items()}
    styled, kept = weights_of(bench.network(SINGLE[0]))

    def told(made: Tensor) -> dict[str, np.ndarray]:
        found = {name: measured(by, made, images, grams[name], **own) for name, by in eyes.items()}
        return {"both": styled * found[LOSS][0] + kept * found[LOSS][1], "judge": found[JUDGE][0]}

    gaps: dict[str, list[Interval]] = {"both": [], "judge": []}
    beside: dict[str, list[Interval]] = {}
    shown = {"content": images[:3]}
    for number, (one, other) in enumerate(zip(SINGLE, BATCH, strict=True)):
        instance, batch = running_on(bench.network(one), instance_norm), bench.network(other)
        made = {
            "instance norm": stylize(instance, images), "batch norm": stylize(batch, images),  # type: ignore[arg-type]
            "batch norm, its batch's statistics": on_itself(batch, images),  # type: ignore[arg-type]
            "untrained": stylize(untrained(instance), images),
            "colour transfer": color_matched(images, style), "content itself": images,
        }  # fmt: skip
        found = {name: told(pictures) for name, pictures in made.items()}
        for key, gap in gaps.items():
            gap.append(bootstrap(found["instance norm"][key] - found["batch norm"][key]))
        for name in made:
            if name not in ("instance norm", "batch norm"):
                gap = bootstrap(found[name]["both"] - found["batch norm"]["both"])  # type: ignore[assignment]
                beside.setdefault(name, []).append(gap)  # type: ignore[arg-type]
        if number == 0:
            shown |= {name: pictures[:3] for name, pictures in made.items()}
    network: Any = bench.network(SINGLE[0])
    stylize(network, images[:1])
    runs = [
        speed_up(eyes[LOSS], network, one[None], grams[LOSS], bench.steps(300, few=3), **own)
        for one in images[: bench.count(20, lesson=6, few=2)]
    ]
    above = "> 0 (lower bound)"
    return Result(
        (
            Measure(
                "time of a search to the network's style loss, over the network's time",
                bootstrap([ratio for ratio, _ in runs]), ">= 20 (lower bound)", unit="times",
            ),
            Measure(
                "loss on held-out pictures, instance minus batch norm", extent(gaps["both"]),
                "< 0 (upper bound)",
                control={name: extent(each) for name, each in beside.items()},
                must=dict.fromkeys(("untrained", "colour transfer", "content itself"), above),
            ),
            Measure(
                "style loss by the judge, instance minus batch norm", extent(gaps["judge"]),
                "< 0 (upper bound)",
            ),
        ),
        notes=(
            f"controls as loss minus batch norm's; the search took {np.median([s for _, s in runs]):.0f} "
            "steps of Adam (median)",
        ),
        show={"pictures": shown},
    )  # fmt: skip


def _ratio(over: np.ndarray, under: np.ndarray) -> Interval:
    return bootstrap(np.stack([over, under], 1), lambda rows: rows[:, 0].mean() / rows[:, 1].mean())


@experiment(
    "S6", LAB, content_loss="style.content_loss", style_loss="style.style_loss",
    conditional_norm="style.conditional_norm", walk="style.walk",
)  # fmt: skip
def s6(bench: Bench, *, content_loss: Own, style_loss: Own, conditional_norm: Own, walk: Own) -> Result:
    """Does one network hold four styles, and is there a way between them that is no cross-fade?"""
    own = {"content_loss": content_loss, "style_loss": style_loss}
    x = torch.ones(1, 2, 2, 2)
    conditional_norm(x, x[0, :, 0], x[0, :, 0], x[0, :1, 0])  # unwritten: say so at once
    walk(0, 1, 2, 2)
    style_loss({"a": x}, {"a": torch.ones(1, 2, 2)}, {"a": content_loss(x, x)})
    images = bench.scenes(30, lesson=8).images
    four: Any = running_on(bench.network(FOUR), conditional_norm)
    names: Sequence[str] = bench.network(FOUR).card["styles"]  # type: ignore[index,assignment]
    eyes = {name: eye(bench.network(name), name) for name in (LOSS, JUDGE)}
    textures = [texture(name)[None] for name in names]
    grams = {name: [by.grams(style) for style in textures] for name, by in eyes.items()}
    styled, kept = weights_of(bench.network(FOUR))

    def both(made: Tensor, number: int) -> np.ndarray:
        style, away = measured(eyes[LOSS], made, images, grams[LOSS][number], **own)
        return styled * style + kept * away

    def judged(made: Tensor, number: int) -> np.ndarray:
        return measured(eyes[JUDGE], made, images, grams[JUDGE][number], **own)[0]

    ends = [stylize(four, images, number) for number in range(len(names))]
    mixed = stylize(bench.network(MIXTURE), images)  # type: ignore[arg-type]
    ratios, blind, wrong = [], [], []
    for name in ALONE:
        alone: Any = bench.network(name)
        number = list(names).index(alone.card["styles"][0])
        single = both(stylize(alone, images), number)
        ratios.append(_ratio(both(ends[number], number), single))
        blind.append(_ratio(both(mixed, number), single))
    for number in range(len(names)):
        others = np.mean([judged(ends[k], number) for k in range(len(names)) if k != number], axis=0)
        wrong.append(_ratio(others, judged(ends[number], number)))
    steady, below, strips = [], [], []
    for first in range(len(names)):
        for last in range(first + 1, len(names)):
            shares = walk(first, last, len(names), 5)
            between = [stylize(four, images, row) for row in shares]
            away = np.array([[judged(made, k) for made in between] for k in (first, last)])
            steps = np.diff(away, axis=1)
            steady.append(((steps[0] > 0) & (steps[1] < 0)).mean(0))
            gains = []
            for t, row in zip((0.25, 0.5, 0.75), (1, 2, 3), strict=True):
                faded = ends[first].lerp(ends[last], t)
                fade = np.array([judged(faded, k) for k in (first, last)])
                gains.append((1 - t) * (away[0, row] - fade[0]) + t * (away[1, row] - fade[1]))
            below.append(np.mean(gains, axis=0))
            strips.append(torch.stack([made[0] for made in between]))
    return Result(
        (
            Measure(
                "loss of the network of four styles over a single style's", extent(ratios),
                "<= 1.2 (upper bound)", unit="times",
                control={"unconditioned, on the mixture": extent(blind)},
                must={"unconditioned, on the mixture": "> 1.2 (lower bound)"},
            ),
            Measure(
                "style loss by the judge, wrong style over right", extent(wrong), ">= 1.5 (lower bound)",
                unit="times",
            ),
            Measure(
                "share of steps of the walk away from one style and nearer to the other",
                bootstrap(np.mean(steady, axis=0)), ">= 0.9 (lower bound)",
            ),
            Measure(
                "style loss by the judge on the walk, minus the pixel fade's",
                bootstrap(np.mean(below, axis=0)),
                "< 0 (upper bound)",
            ),
        ),
        notes=(f"{len(images)} held-out scenes; styles: {', '.join(names)}",),
        show={
            "styles": list(names), "textures": torch.cat(textures), "content": images[:1],
            "ends": torch.stack([made[0] for made in ends]), "mixture": mixed[:1], "walks": strips,
        },
    )  # fmt: skip
