"""Style, lab 53: do content and style separate (S4)? And the eyes by which lab 53 tells style and content."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.statistics import bootstrap
from labkit.data.textures import STYLES, texture
from labkit.evaluation import twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import record
from labkit.optimize import minimize
from labkit.style.gram import color_matched, gram_matrix

LAB = "53_style"
# A plain network's Gram matrices are content with fringes: an attack on them. One trained on attacks is not.
LOSS, JUDGE = "minivgg-robust", "minivgg-11"  # what is optimized; another design, trained on other scenes
ENDS = {  # the weights of style layers; the loss network's as in the training of the style networks
    LOSS: {2: 3.0, 5: 3.0, 9: 2.0, 13: 1.0},
    JUDGE: {2: 1.0, 6: 1.0, 9: 1.0, 13: 1.0},
}
STYLE_LAYERS = {f"features.{n}": weight for n, weight in ENDS[LOSS].items()}
RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # style weight over content weight
FADES = np.linspace(0, 1, 21)
Own = Callable[..., Any]


class Eye(NamedTuple):
    """A network by which style and content are told: its style layers with weights, its content layer."""

    model: nn.Module
    layers: dict[str, float]
    content: str

    def features(self, images: Tensor) -> dict[str, Tensor]:
        with record(self.model, *dict.fromkeys([*self.layers, self.content])) as kept:
            self.model(images)
        return dict(kept)

    def grams(self, style: Tensor) -> dict[str, Tensor]:
        """The style's Gram matrix of each style layer."""
        with torch.no_grad():
            found = self.features(style)
        return {layer: gram_matrix(found[layer]) for layer in self.layers}


def eye(model: nn.Module, name: str) -> Eye:
    """The network up to its last style layer, so that no more is worked out than is read."""
    layers, total = ENDS[name], sum(ENDS[name].values())
    short = copy.deepcopy(model).requires_grad_(False)
    short.features = short.features[: max(layers) + 1]  # type: ignore[index]
    short.pool = short.classifier = nn.Identity()
    return Eye(short.eval(), {f"features.{n}": w / total for n, w in layers.items()}, "features.9")


def measured(
    by: Eye, made: Tensor, content: Tensor, grams: dict[str, Tensor], content_loss: Own, style_loss: Own
) -> tuple[np.ndarray, np.ndarray]:
    """Style and content loss of each picture, by an eye."""
    found: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for part, own in zip(made.split(30), content.split(30), strict=True):
            shown, kept = by.features(part), by.features(own)
            found.append(
                (style_loss(shown, grams, by.layers), content_loss(shown[by.content], kept[by.content]))
            )
    style, away = (torch.cat(both).double().numpy() for both in zip(*found, strict=True))
    return style, away


def sought(
    by: Eye, content: Tensor, style: Tensor, steps: int, content_loss: Own, style_loss: Own
) -> Float[Tensor, "R N 3 H W"]:
    """Pictures sought from noise for every ratio of the weights, all at once, by Adam."""
    n, grams = len(content), by.grams(style)
    ratios = torch.tensor(RATIOS).repeat_interleave(n)
    noise = torch.randn(len(ratios), *content.shape[1:], generator=torch.Generator().manual_seed(0))
    images = (0.5 + 0.1 * noise).clamp(0, 1)
    with torch.no_grad():
        kept = by.features(content)[by.content].repeat(len(RATIOS), 1, 1, 1)

    def loss(_: int) -> Tensor:
        shown = by.features(images)
        both = ratios * style_loss(shown, grams, by.layers) + content_loss(shown[by.content], kept)
        return both.sum()

    minimize(
        [images], loss, steps=steps, rate=0.06, schedule="cosine",
        project=lambda _: images.clamp_(0, 1), describe="style transfer",
    )  # fmt: skip
    return images.detach().unflatten(0, (len(RATIOS), n))


def below_fade(
    style: np.ndarray, away: np.ndarray, faded: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "R N"]:
    """Style loss minus the cross-fade's at the same content loss, (R, N); ``faded`` is (21, N) each."""
    gains = np.empty_like(style)
    for n in range(style.shape[1]):
        order = np.argsort(faded[1][:, n])
        gains[:, n] = style[:, n] - np.interp(away[:, n], faded[1][order, n], faded[0][order, n])
    return gains


@experiment("S4", LAB, content_loss="style.content_loss", style_loss="style.style_loss")
def s4(bench: Bench, *, content_loss: Own, style_loss: Own) -> Result:
    """Do content and style separate? From noise, over six weights, beside the cross-fade, by the judge."""
    own = {"content_loss": content_loss, "style_loss": style_loss}
    x = torch.ones(1, 2, 2, 2)
    style_loss({"a": x}, {"a": torch.ones(1, 2, 2)}, {"a": content_loss(x, x)})  # unwritten: say so at once
    scenes = F.avg_pool2d(bench.scenes(20, lesson=4).images, 2)
    steps, judge = bench.steps(80, few=3), eye(bench.network(JUDGE), JUDGE)
    plain = bench.network(LOSS)
    eyes = {
        "trained": eye(plain, LOSS),
        "twin": eye(twin(plain, bench.scenes(128, "val", lesson=32).images), LOSS),
    }
    columns: dict[str, list[np.ndarray]] = {}
    pictures: list[Tensor] = []
    kinds = STYLES[: max(1, min(len(STYLES), len(scenes) // 2))]
    for number, kind in enumerate(kinds):
        content, style = scenes[number :: len(kinds)], texture(kind, 64)[None]
        grams = judge.grams(style)

        def judged(made: Tensor, content: Tensor = content, grams: Any = grams) -> list[np.ndarray]:
            times = len(made) // len(content)
            both = measured(judge, made, content.repeat(times, 1, 1, 1), grams, **own)
            return [values.reshape(times, -1) for values in both]

        fades = torch.cat([content.lerp(style, float(share)) for share in FADES])
        faded = judged(fades)
        coloured = judged(color_matched(content, style))
        for name, by in eyes.items():
            made = sought(by, content, style, steps, **own)
            found = judged(made.flatten(0, 1))
            gain = below_fade(found[0], found[1], (faded[0], faded[1]))
            right = (np.diff(found[0], axis=0) < 0) & (np.diff(found[1], axis=0) > 0)
            for key, values in {"style": found[0], "content": found[1], "gain": gain, "right": right}.items():
                columns.setdefault(f"{name} {key}", []).append(values)
            if name == "trained":
                pictures.append(torch.cat([content[:1], *made[:, 0:1].unbind(), style]))
        columns.setdefault("colour gain", []).append(below_fade(*coloured, (faded[0], faded[1])))  # type: ignore[call-arg,arg-type]
    found = {key: np.concatenate(parts, axis=1) for key, parts in columns.items()}  # type: ignore[assignment]
    gains = {name: found[f"{name} gain"].mean(0) for name in eyes}  # type: ignore[call-overload]
    equal = {name: (found[f"{name} style"] - found[f"{name} gain"]).mean(1).tolist() for name in eyes}  # type: ignore[call-overload]
    return Result(
        (
            Measure(
                "style loss minus the cross-fade's at equal content loss, mean of six weights, by the judge",
                bootstrap(gains["trained"]), "< 0 (upper bound)",
                control={
                    "colour transfer": bootstrap(found["colour gain"][0]),  # type: ignore[call-overload]
                    "twin as loss network": bootstrap(gains["twin"]),
                    "the weight at which it is least": extent(
                        [max((bootstrap(row) for row in found["trained gain"]), key=lambda i: i.value)]  # type: ignore[call-overload]
                    ),
                },
                must={"colour transfer": ">= 0", "the weight at which it is least": "< 0 (upper bound)"},
            ),
            Measure(
                "the same, trained minus twin", bootstrap(gains["trained"] - gains["twin"]),
                "< 0 (upper bound)",
            ),
            Measure(
                "share of steps of the weight at which style loss falls and content loss rises",
                bootstrap(found["trained right"].mean(0)), ">= 0.9 (lower bound)",  # type: ignore[call-overload]
                control={"twin": bootstrap(found["twin right"].mean(0))},  # type: ignore[call-overload]
            ),
        ),
        notes=(f"{scenes.shape[0]} scenes at 64 px, {len(kinds)} styles, {steps} steps of Adam from noise",),
        show={
            "pictures": pictures, "styles": list(kinds),
            "weights": RATIOS,
            "style loss": {
                "transfer": found["trained style"].mean(1).tolist(),  # type: ignore[call-overload]
                "cross-fade, same content loss": equal["trained"],
                "twin as loss network": found["twin style"].mean(1).tolist(),  # type: ignore[call-overload]
                "its cross-fade": equal["twin"],
            },
        },
    )  # fmt: skip
