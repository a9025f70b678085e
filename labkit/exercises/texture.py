"""The exercises of the notebook 52_texture: Gram matrices, their loss, and what colours alone give."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("52_texture")
LIBRARY = "labkit.style."


def gram_cases(draw: Draw):
    yield Case("one picture, three channels", (draw.numbers(1, 3, 4, 5),))
    yield Case("two pictures, far from zero; they must stay", (draw.numbers(2, 4, 3, 6) + 3,), probe="both")
    yield Case("more channels than places", (draw.numbers(2, 7, 2, 3),))


def _of_means(features):
    means = features.mean((2, 3))
    return means[:, :, None] * means[:, None] / features.shape[1]


@SHEET.exercise(
    "style.gram_matrix", "Which channels fire together", points=3, minutes=10, difficulty=2, cases=gram_cases,
    blocks=(LIBRARY + "gram.gram_matrix",),
    mistakes=(
        ("/ flat[0].numel()", "",
            "The products are added up and not divided: a larger picture would have a larger matrix."),
        ("/ flat[0].numel()", "/ flat.shape[2]",
            "You divide by the places alone. Divide by channels times places."),
        ("/ flat[0].numel()", "/ flat.numel()",
            "You divide by the pictures as well. Each picture has a matrix of its own."),
        ("features.flatten(2)", "features.flatten(2) - features.flatten(2).mean(2, keepdim=True)",
            "That is a covariance. A Gram matrix keeps the means: do not subtract them."),
        ("features.flatten(2)", "torch.nn.functional.normalize(features.flatten(2), dim=2)",
            "That is a cosine. How strongly a channel fires belongs to the texture: keep the lengths."),
        (_of_means,
            "You multiply the channels' means. Multiply place by place first, then average: else a red line "
            "beside a blue one and a violet one are the same."),
    ),
)  # fmt: skip
def gram_matrix(features):
    """The inner product of every two channels over all places, divided by channels times places.

    features: (N, K, h, w). Returns (N, K, K).
    """
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def loss_cases(draw: Draw):
    def grams(n, *channels):
        flats = [draw.numbers(n, k, 9) for k in channels]
        return [flat @ flat.transpose(1, 2) / 9 for flat in flats]

    yield Case("one layer", (grams(1, 3), grams(1, 3), [1.0]))
    yield Case("three layers, three weights", (grams(1, 3, 5, 2), grams(1, 3, 5, 2), [0.2, 0.3, 0.5]))
    faint = [1e-3 * gram for gram in grams(1, 4, 3)]
    yield Case("faint layers; the matrices must stay", (grams(1, 4, 3), faint, [0.7, 0.3]), probe="both")


@SHEET.exercise(
    "style.gram_loss", "The loss, layer by layer", points=3, minutes=10, difficulty=2, cases=loss_cases,
    blocks=(LIBRARY + "gram.gram_loss",),
    mistakes=(
        ("/ (goal**2).sum()", "",
            "Divide each layer by the squared length of its goal: else the layer with the largest numbers "
            "is all that counts."),
        ("/ (goal**2).sum()", "/ (gram**2).sum()",
            "You divide by the length of what is made. It moves: divide by that of the goal."),
        ("/ (goal**2).sum()", "/ (goal**2).sum().sqrt()",
            "The length must be squared, as the distance is: else the loss hangs on the unit."),
        ("((gram - goal) ** 2).sum()", "(gram - goal).abs().sum()",
            "You add up absolute differences. The distance is squared."),
        ("((gram - goal) ** 2).sum()", "(gram - goal).sum() ** 2",
            "First the square of each difference, then the sum: else they cancel."),
        ("weight * away", "away",
            "The weights of the layers are missing."),
        ("total + ", "",
            "Only the last layer is left at the end. Add the layers up."),
    ),
)  # fmt: skip
def gram_loss(found, wanted, weights):
    """The weighted sum over layers of a squared distance, each over the squared length of its goal.

    found, wanted: lists of Gram matrices (1, K, K), a layer each; wanted are the goals.
    weights: numbers.
    Returns one number (a tensor).
    """
    total = 0
    for gram, goal, weight in zip(found, wanted, weights, strict=True):
        away = ((gram - goal) ** 2).sum()
        total = total + weight * away / (goal**2).sum()
    return total


def control_cases(draw: Draw):
    def case(name, height, width, probe=None, grey=False):
        mix = torch.tensor([[0.3, 0.1, 0.0], [0.0, 0.2, 0.1], [0.1, 0.0, 0.2]]).to(draw.dtype)
        mix = mix[:1].expand(3, 3) if grey else mix
        pixels = mix @ draw.pictures(3, height * width) + 0.2
        order = torch.randperm(height * width, generator=draw.generator)
        noise = draw.numbers(3, height * width)
        return Case(name, (pixels.view(3, height, width), order, noise), probe=probe)

    yield case("six by six pixels", 6, 6)
    yield case("wider than high; the texture must stay", 4, 9, probe="both")
    yield case("a picture in greys", 8, 5, grey=True)


@SHEET.exercise(
    "style.color_controls", "What colours alone can do", points=3, minutes=12, difficulty=2,
    cases=control_cases,
    mistakes=(
        ("pixels[:, order]", "pixels",
            "Nothing is permuted. Index the places with the order."),
        ("pixels[:, order]", "torch.stack([pixels[0, order], pixels[1, order.flip(0)], pixels[2, order]])",
            "Move whole pixels: each colour channel in the same order, else new colours come up."),
        ("mean + root @ noise", "root @ noise", "The mean colour is missing."),
        ("mean + root @ noise", "mean + root.T @ noise",
            "Turned round: with L L^T = C it is L times the noise, not L^T."),
        ("mean + root @ noise", "mean + covariance @ noise",
            "You multiply by the covariance itself: then the noise has its square. Take the Cholesky root."),
        ("mean + root @ noise", "mean + pixels.std(1, keepdim=True) * noise",
            "Each colour has its own spread now, but they do not go together. Use the whole covariance."),
        ("torch.cov(pixels)", "pixels @ pixels.T / pixels.shape[1]",
            "Subtract the mean colour first: the covariance is about the mean. torch.cov does so."),
    ),
)  # fmt: skip
def color_controls(texture, order, noise):
    """Two pictures with a texture's colours and nothing of its structure.

    texture: (3, H, W); order: the numbers 0 to H W - 1 in some order; noise: (3, H W), normal,
    of variance 1. Returns two of the texture's shape: its pixels in this order (pixel k of the
    result is pixel order[k]), and the noise with the mean colour and the covariance of the
    colours: torch.cov with 1e-6 more on its diagonal, and of that the lower Cholesky factor.
    """
    pixels = texture.flatten(1)
    permuted = pixels[:, order]
    mean = pixels.mean(1, keepdim=True)
    covariance = torch.cov(pixels)
    root = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(3).to(pixels))
    matched = mean + root @ noise
    return permuted.view_as(texture), matched.view_as(texture)
