"""The exercises of the notebook 25 that could refute a map: a network that forgets, a prediction."""
# ruff: noqa: B905

from __future__ import annotations

import torch
from tqdm.auto import tqdm

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet
from labkit.evaluation import execution_order, randomized
from labkit.exercises.can_you_trust_a_heatmap import rank_correlation

SHEET = Sheet("25_can_you_trust_a_heatmap")


def cascade_cases(draw: Draw):
    for name in ("a network of three layers", "another one, other pictures"):
        net = draw.net("deeper", hidden=3 + draw.index(3))
        target = torch.tensor([draw.index(3) for _ in range(3)])
        method = Recipe("labkit.calls.recipes:slopes")
        yield Case(name, (net, method, draw.pictures(3, 3, 8, 6), target))


@SHEET.exercise(
    "evaluation.cascade", "A network that forgets", points=4, minutes=14, difficulty=2,
    cases=cascade_cases, blocks=("labkit.evaluation.cascading_randomization",),
    imports=("torch", "numpy", "math", "tqdm", "labkit"),
    mistakes=(
        ("[::-1]", "",
            "You begin at the picture. The head forgets first, and execution_order gives it last."),
        ("layers[:depth]", "layers[depth - 1 : depth]",
            "One layer alone is fresh in each of your networks. What was forgotten stays forgotten."),
        ("layers[:depth]", "layers", "All layers are fresh from the start: one more each time."),
        ("method(twin, images, target)", "method(model, images, target)",
            "You map the trained network again and again: ask the one that has forgotten."),
        ("method(twin, images, target)", "method(twin, images, twin(images).argmax(1))",
            "The question stays the same: ask for target, whatever the forgetful network would name."),
        ({"maps[0].abs()": "maps[0]", "(m.abs()": "(m"},
            "The signs count in yours. Compare the sizes: a map and its negative show the same places."),
        ("rank_correlation(m.abs(), whole) for m in maps[1:]",
            "rank_correlation(m.abs(), n.abs()) for m, n in zip(maps[1:], maps)",
            "You compare with the step before. Compare with the map of the network that knows everything."),
        ("rank_correlation(m.abs(), whole)", "(m.abs() - whole).abs().mean((1, 2))",
            "That is a distance. Use your rank_correlation: maps have no common unit."),
    ),
)  # fmt: skip
def cascade(model, method, images, target):
    """A method's maps while the network forgets, one layer more each time, the head first.

    model: left as it was; method: a function, (model, images, target) -> maps (N, H, W), signed;
    images: (N, 3, H, W); target: (N,), class indices.
    Returns two tensors: the maps, (L + 1, N, H, W), first those of the model itself; and (L, N),
    the rank correlation of the later maps with these, in sizes.
    """
    layers = execution_order(model, images)[::-1]
    maps = [method(model, images, target)]
    for depth in tqdm(range(1, len(layers) + 1), leave=False):
        twin = randomized(model, layers[:depth], images)
        maps.append(method(twin, images, target))
    whole = maps[0].abs()
    alike = [rank_correlation(m.abs(), whole) for m in maps[1:]]
    return torch.stack(maps), torch.stack(alike)


def prediction_cases(draw: Draw):
    """Objects of unlike size; some maps name the wrong one. The first four are the ends of the rule."""
    for name, objects in (("two objects", 2), ("three objects", 3)):
        maps, parts = draw.numbers(24, 9, 8), torch.zeros(24, objects, 9, 8, dtype=torch.bool)
        without, control = draw.numbers(24, objects), draw.numbers(24, objects)
        for number in range(24):
            parts[number, 0, :2, :2], parts[number, 1, 4:, 2:7], parts[number, 2:, :3, 5:] = True, True, True
            parts[number] = parts[number, draw.numbers(objects).argsort()]
            bright = draw.index(objects)
            maps[number] += parts[number, bright] * 0.7
            if number % 3:
                control[number, bright] = (control - without)[number].max() + without[number, bright] + 0.5
        for number in range(4):
            drops = torch.arange(objects).to(draw.dtype).flip(0) - (0, 0, objects - 1, objects)[number]
            control[number] = without[number].round() + drops
            without[number] = without[number].round()
            maps[number] = maps[number].abs() * parts[number, 0]
        maps[0], maps[1] = 0, -maps[1]
        yield Case(name, (maps, parts, without, control))


DENSITY, DROPS = "light.sum((2, 3)) / parts.sum((2, 3))", "control - without"


@SHEET.exercise(
    "evaluation.prediction_holds", "Can it be wrong?", points=4, minutes=12, difficulty=2,
    cases=prediction_cases, blocks=("labkit.evaluation.falsification",),
    mistakes=(
        (".clamp(min=0)", "", "Places that speak against the class count in yours. Take the positive part."),
        (".clamp(min=0)", ".abs()", "You take the sizes. Only the positive part of a map names an object."),
        (" / parts.sum((2, 3))", "", "A large object wins by its size: take the mean over its pixels."),
        (DENSITY, "light.amax((2, 3))",
            "You look at the highest place. The mean over the object's pixels counts."),
        (DROPS, "-without", "The control is left out: covering anything costs something."),
        (DROPS, "without - control",
            "The sign is turned: a loss that costs makes the score without it lower."),
        (DROPS, "(control - without).abs()",
            "You count gains as costs. A drop is control minus without, with its sign."),
        (" & (density.amax(1) > 0)", "", "A map without any light on the objects names none, and is wrong."),
        (" & (drops.amax(1) > 0)", "",
            "Where no object costs more than its control, no map can be right."),
        ("(drops.amax(1) > 0)", "(drops.amin(1) > 0)",
            "You ask that every object costs something. It is enough that one does."),
    ),
)  # fmt: skip
def prediction_holds(maps, parts, without, control):
    """Whether each map names the object whose loss costs the network most.

    maps: (N, H, W), signed; parts: (N, K, H, W), booleans, the pixels of K objects, none empty;
    without: (N, K), the score without each object; control: (N, K), without as much of the ground.
    Returns (N,), booleans; False for a map that has nothing above 0 on the objects, and where no
    loss costs more than its control.
    """
    light = maps.clamp(min=0)[:, None] * parts
    density = light.sum((2, 3)) / parts.sum((2, 3))
    drops = control - without
    same = density.argmax(1) == drops.argmax(1)
    return same & (density.amax(1) > 0) & (drops.amax(1) > 0)
