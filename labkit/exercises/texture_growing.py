"""More of the notebook 52_texture: how large a texture's features are, and one pixel of Efros-Leung."""

from __future__ import annotations

import math

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("52_texture")
LIBRARY = "labkit.style."


def length_cases(draw: Draw):
    def blurred(side, reach):
        picture = draw.numbers(side, side)
        waves = torch.fft.rfft2(picture)
        down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
        fall = torch.exp(-((down**2 + (2 * across) ** 2) * reach**2)).to(draw.dtype)
        made = torch.fft.irfft2(waves * fall, s=(side, side))
        return made - made.mean(1, keepdim=True)  # so that rows alone fall below any level, too

    yield Case("a picture blurred a little", (blurred(24, 6.0),))
    yield Case("a bright one, blurred more; the picture must stay", (blurred(32, 9.0) + 4,), probe="both")
    yield Case("noise, made dark", (0.1 * blurred(20, 2.5),))


@SHEET.exercise(
    "style.autocorrelation_length", "How large are the features", points=4, minutes=15, difficulty=3,
    cases=length_cases,
    mistakes=(
        ("picture - picture.mean()", "picture - picture.mean(0)",
            "You subtract each column's own mean. Subtract the mean of the whole picture."),
        ("(alike[0] + alike[:, 0])", "(alike[0] + alike[0])",
            "You look along the rows alone. Average over both directions."),
        ("(alike[0] + alike[:, 0])", "(alike[0] + alike.diagonal())",
            "That goes along the diagonal, where a step is longer. Take the first column."),
        ("alike[0, 0])", "away.numel())",
            "Divide by the value at distance 0, so that it is 1 there."),
        ("math.exp(-1)", "0.5",
            "That is the half width. The length is where the line falls below 1 / e."),
        (".abs() ** 2", ".abs()",
            "The inverse transform of the power is the autocorrelation: the magnitude must be squared."),
        ("last + (line[last] - level) / (line[last] - line[last + 1])", "last + 1.0 + 0 * line[last]",
            "You take the whole pixel below the level. Interpolate on a line between the two."),
    ),
)  # fmt: skip
def autocorrelation_length(picture):
    """The distance at which a picture is like itself only by 1 / e, along rows and columns.

    picture: (H, H), one channel. The autocorrelation is the inverse Fourier transform of the
    power spectrum of the picture without its mean; its first row and first column are averaged
    and divided by the first value. Returns the first place where this line reaches 1 / e,
    interpolated (a tensor).
    """
    away = picture - picture.mean()
    power = torch.fft.fft2(away).abs() ** 2
    alike = torch.fft.ifft2(power).real
    line = (alike[0] + alike[:, 0]) / (2 * alike[0, 0])
    level = math.exp(-1)
    last = int((line < level).nonzero()[0]) - 1
    return last + (line[last] - level) / (line[last] - line[last + 1])


def pixel_cases(draw: Draw):
    def case(name, height, width, window, tolerance, share, probe=None):
        texture, seen = draw.pictures(3, height, width), draw.pictures(3, window, window)
        filled = draw.masks(window, window, share=share)
        filled[window // 2, window // 2], filled[0, 0] = False, True
        line = torch.arange(window).to(draw.dtype) - window // 2
        fall = torch.exp(-(line[:, None] ** 2 + line**2) / 4)
        chance = draw.number(0.02, 0.98)
        return Case(name, (texture, seen, filled, fall, tolerance, chance), probe=probe)

    yield case("half of the window is filled", 9, 9, 3, 0.8, 0.5)
    yield case("a larger window; the arguments must stay", 8, 11, 5, 0.6, 0.6, probe="both")
    yield case("few pixels are known, many windows are like them", 10, 7, 5, 2.5, 0.2)


@SHEET.exercise(
    "style.next_pixel", "One pixel of Efros-Leung", points=5, minutes=20, difficulty=3, cases=pixel_cases,
    blocks=tuple(
        LIBRARY + name for name in ("efros_leung", "efros_leung_result", "nonparametric.best_windows")
    ),
    mistakes=(
        ("fall * filled", "fall",
            "You compare pixels that are not there yet. Multiply the weights by filled."),
        ("fall * filled", "filled.to(fall)",
            "The Gaussian is missing: what is near the pixel counts more."),
        ("((windows - seen[:, None, None]) ** 2)", "(windows - seen[:, None, None]).abs()",
            "You add up absolute differences. The distance is one of squares."),
        ("(1 + tolerance) * away.min()", "away.min()",
            "Only the best window is left: that copies. All up to 1 + tolerance times the least may be "
            "drawn."),
        ("(1 + tolerance) * away.min()", "tolerance + away.min()",
            "The tolerance is a factor, 1 + tolerance times the least, not a distance."),
        ("int(chance * len(near))", "0",
            "You always take the first candidate. Which one is taken is left to chance."),
        ("texture[:, row + reach, column + reach]", "texture[:, row, column]",
            "That is the window's upper left corner. Take its middle."),
        ("texture[:, row + reach, column + reach]",
         "texture[:, near[:, 0] + reach, near[:, 1] + reach].mean(1)",
            "You average the candidates, which blurs. Draw one of them."),
    ),
)  # fmt: skip
def next_pixel(texture, seen, filled, fall, tolerance, chance):
    """The colour of the next pixel: the middle of a window that looks like what is there.

    texture: (3, H, W); seen: (3, w, w), what stands around the pixel; filled: (w, w), True
    where something does; fall: (w, w), the Gaussian; chance: from 0 to 1, draws a candidate.
    A candidate's distance (squares times the Gaussian, where filled, summed over pixels and
    colours) is at most 1 + tolerance times the least. Of n candidates, row by row, number
    int(chance n) is taken.
    Returns (3,).
    """
    size, reach = len(fall), len(fall) // 2
    windows = texture.unfold(1, size, 1).unfold(2, size, 1)
    weights = fall * filled
    squares = ((windows - seen[:, None, None]) ** 2) * weights
    away = squares.sum((0, 3, 4))
    near = (away <= (1 + tolerance) * away.min()).nonzero()
    row, column = near[int(chance * len(near))]
    return texture[:, row + reach, column + reach]
