"""The exercises of the notebook 53_style: content and style loss, colours kept, norms, styles between."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("53_style")
LIBRARY = "labkit.style."
WHOLE = tuple(LIBRARY + name for name in ("style_transfer", "style_transfer_result"))
LOSSES = (*WHOLE, "labkit.style.feed_forward.style_losses")


def content_cases(draw: Draw):
    yield Case("two pictures, three channels", (draw.numbers(2, 3, 4, 5), draw.numbers(2, 3, 4, 5)))
    yield Case("features that are large", (9 * draw.numbers(3, 2, 3, 3), 9 + draw.numbers(3, 2, 3, 3)))
    kept = draw.numbers(2, 4, 2, 2)
    yield Case("one picture has lost nothing", (kept + draw.numbers(2, 1, 1, 1).round(), kept))


@SHEET.exercise(
    "style.content_loss", "What must stay", points=2, minutes=6, difficulty=1, cases=content_cases,
    blocks=LOSSES,
    mistakes=(
        ("(made - kept) ** 2", "(made - kept).abs()",
            "You add up absolute differences. Gatys squares them."),
        ("/ (kept**2).flatten(1).sum(1)", "",
            "The loss has no scale: divide by the squared length of the content's own features."),
        ("(kept**2)", "(made**2)",
            "You divide by the length of the features that were made. They change; divide by the content's."),
        ("/ (kept**2).flatten(1).sum(1)", "/ (kept**2).sum()",
            "You divide by the length of all pictures together. Each has its own: flatten(1), then sum(1)."),
        ("flatten(1).sum(1) / (kept**2).flatten(1).sum(1)", "flatten(1).mean(1)",
            "That is the mean square. Divide by the squared length of the content's own features instead."),
        ("(kept**2).flatten(1).sum(1)", "(kept**2).flatten(1).sum(1).sqrt()",
            "You divide by the length. The difference is squared, so divide by the squared length."),
    ),
)  # fmt: skip
def content_loss(made, kept):
    """How far each picture's features moved, squared, over the squared length of the content's.

    made, kept: features (N, K, h, w), of the picture made and of the content. Returns (N,).
    """
    away = (made - kept) ** 2
    return away.flatten(1).sum(1) / (kept**2).flatten(1).sum(1)


def style_cases(draw: Draw):
    def case(name, shapes, n, weights):
        made = {layer: draw.numbers(n, *shape) for layer, shape in shapes.items()}
        flat = {layer: draw.numbers(1, k, h * w).to(draw.dtype) for layer, (k, h, w) in shapes.items()}
        grams = {layer: f @ f.transpose(1, 2) / f[0].numel() for layer, f in flat.items()}
        return Case(name, (made, grams, weights))

    yield case("one layer", {"early": (3, 4, 5)}, 2, {"early": 1.0})
    yield case("two layers of different size", {"early": (2, 6, 6), "late": (4, 3, 3)}, 3,
               {"early": 1.0, "late": 1.0})  # fmt: skip
    yield case("two layers, weighed", {"early": (2, 5, 4), "late": (5, 2, 3)}, 2,
               {"early": 0.25, "late": 3.0})  # fmt: skip


@SHEET.exercise(
    "style.style_loss", "What must come", points=3, minutes=12, difficulty=2, cases=style_cases,
    blocks=(*LOSSES, "labkit.style.gram.gram_matrix", "labkit.style.gram.gram_loss"),
    mistakes=(
        ("flat @ flat.transpose(1, 2)", "flat.mean(2)[:, :, None] @ flat.mean(2)[:, None]",
            "You multiply the channels' means. Multiply at every place, then add up over places."),
        (" / flat[0].numel()", "",
            "The Gram matrix grows with the picture. Divide it by channels times places."),
        ("flat[0].numel()", "flat.shape[2]",
            "You divide by the places alone. Divide by channels times places."),
        ("weight * (away / (grams[layer] ** 2).sum())", "away / (grams[layer] ** 2).sum()",
            "The weights of the layers are not used."),
        (" / (grams[layer] ** 2).sum()", "",
            "Layers with large features drown the others. Divide by the squared length of the style's Gram."),
        ("total = total + weight", "total = weight",
            "Only the last layer counts. Add the layers up."),
        ("(grams[layer] ** 2).sum()", "(grams[layer] ** 2).sum().sqrt()",
            "You divide by the length. The difference is squared, so divide by the squared length."),
    ),
)  # fmt: skip
def style_loss(made, grams, weights):
    """How far the Gram matrices of each picture's features lie from the style's, over layers.

    made: layer -> features (N, K, h, w); grams: layer -> the style's Gram matrix (1, K, K), which
    is divided by channels times places; weights: layer -> a number. A layer's loss is the squared
    distance over the squared length of the style's own, times its weight. Returns (N,).
    """
    total = 0
    for layer, weight in weights.items():
        flat = made[layer].flatten(2)
        gram = flat @ flat.transpose(1, 2) / flat[0].numel()
        away = ((gram - grams[layer]) ** 2).sum((1, 2))
        total = total + weight * (away / (grams[layer] ** 2).sum())
    return total


def color_cases(draw: Draw):
    yield Case("two pictures", (draw.pictures(2, 3, 3, 4), draw.pictures(2, 3, 3, 4)))
    yield Case("near black and white: what leaves 0 to 1 is clipped",
               (draw.pictures(1, 3, 4, 4).round(), draw.pictures(1, 3, 4, 4)))  # fmt: skip
    yield Case("the pictures must stay", (draw.pictures(1, 3, 2, 5), draw.pictures(1, 3, 2, 5)), probe="both")


@SHEET.exercise(
    "style.keep_colors", "Keep the colours", points=2, minutes=8, difficulty=2, cases=color_cases,
    blocks=("labkit.style.gram.color_matched",),
    mistakes=(
        ("(made - content)", "made",
            "The light of the content is still there, so that light is added to light. Add the difference."),
        ("(made - content)", "(content - made)",
            "The sign is turned: this takes the stroke away from the content twice over."),
        ("content + light", "made + light",
            "You began with the colours of the style. Begin with the content, and change its light."),
        ({"(made - content)": "(content - made)", "content + light": "made + light"},
            "That is the other way round: the content's light in the style's colours. Add to the content "
            "the light that the made picture has more."),
        (".clamp(0, 1)", "", "Some pixels have left the range from 0 to 1. Clip them."),
        (".sum(1, keepdim=True)", ".mean(1, keepdim=True)",
            "The three shares add up to 1 already. Add the channels up; the mean divides by 3 again."),
        ("shares = torch.tensor([0.299, 0.587, 0.114]).to(content)",
         "shares = torch.tensor([1 / 3, 1 / 3, 1 / 3]).to(content)",
            "That is the mean of the channels. The eye sees green as lighter: take the three shares given."),
    ),
)  # fmt: skip
def keep_colors(made, content):
    """The light of the picture that was made, in the colours of the content.

    made, content: (N, 3, H, W), 0 to 1. Light is 0.299 red + 0.587 green + 0.114 blue; adding one
    number to all three channels changes nothing else. Clip to 0 to 1. Returns (N, 3, H, W).
    """
    shares = torch.tensor([0.299, 0.587, 0.114]).to(content)
    light = ((made - content) * shares[:, None, None]).sum(1, keepdim=True)
    return (content + light).clamp(0, 1)
