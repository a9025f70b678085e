"""The exercises of the notebook 34_looking_without_a_hypothesis: places, cosine overlays, hits on parts."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("34_looking_without_a_hypothesis")
LIBRARY = "labkit.concepts."


def place_cases(draw: Draw):
    def case(name, size, grid):
        x, y = draw.number(0, size[1] - 0.02), draw.number(0, size[0] - 0.02)
        return Case(name, (x, y, size, grid))

    yield case("a square picture", (128, 128), (16, 16))
    yield case("a wide one", (60, 200), (5, 8))
    yield case("a tall one, a grid that does not divide it", (130, 70), (9, 7))
    yield Case("the last pixel", (127, 63, (64, 128), (8, 16)))


@SHEET.exercise(
    "concepts.place_under", "The place under the pointer", points=1, minutes=5, difficulty=1,
    cases=place_cases, compare="exact", blocks=("labkit.concepts.overlay.place_at",),
    mistakes=(
        ("return row, column", "return column, row",
            "The row comes first: it follows from y, the column from x."),
        ({"y * grid[0] / height": "y * grid[1] / height", "x * grid[1] / width": "x * grid[0] / width"},
            "You have exchanged the grid's sides. grid is (rows, columns), and y runs along the rows."),
        ({"grid[0] / height": "grid[0] / width", "grid[1] / width": "grid[1] / height"},
            "You divide y by the width. size is (height, width)."),
        ({"int(y": "round(y", "int(x": "round(x"},
            "You round to the nearest place. A place holds the pixels from its start to the next: cut off."),
    ),
)  # fmt: skip
def place_under(x, y, size, grid):
    """The place of a layer's map that lies under a pixel of the picture.

    x, y: the pixel; size: (height, width) of the picture; grid: (rows, columns) of the map.
    Returns (row, column), whole numbers from 0.
    """
    height, width = size
    row = int(y * grid[0] / height)
    column = int(x * grid[1] / width)
    return row, column


def overlay_cases(draw: Draw):
    def case(name, n, k, h, w, dead=False, scale=1.0, probe=None):
        maps = scale * draw.numbers(n, k, h, w)
        if dead:
            maps = maps.relu()
            maps[:, :, 0, 0] = 0
        place = (0, 0) if dead and draw.index(2) else (draw.index(h), draw.index(w))
        return Case(name, (maps, draw.index(n), place), probe=probe)

    yield case("two pictures", 2, 5, 3, 4)
    yield case("three of small numbers; the maps must stay", 3, 4, 2, 5, scale=0.1, probe="both")
    yield case("places where the layer gives nothing", 2, 3, 4, 4, dead=True)


@SHEET.exercise(
    "concepts.cosine_overlay", "One place against all places", points=3, minutes=12, difficulty=2,
    cases=overlay_cases, blocks=(LIBRARY + "similarity_map",),
    mistakes=(
        ("maps.norm(dim=1) * vector.norm()", "vector.norm()",
            "You divide by one of the two lengths only: places with long vectors come out most similar."),
        (" * vector.norm()", "",
            "The length of the vector asked about is missing: its own place should have exactly 1."),
        (".clamp(min=1e-30)", "",
            "A zero vector divided by its length is NaN. Such places are to have 0."),
        ("maps[picture, :, place[0], place[1]]", "maps[0, :, place[0], place[1]]",
            "You always ask the first picture. The place lies in the one numbered picture."),
        ("/ lengths.clamp(min=1e-30)", "",
            "That is the product. A cosine divides it by both lengths."),
        ("maps.norm(dim=1) * vector.norm()", "maps.abs().sum(1) * vector.abs().sum()",
            "You add up absolute values. The length is the root of the sum of squares."),
    ),
)  # fmt: skip
def cosine_overlay(maps, picture, place):
    """The cosine of the vector at one place of one picture with the vector at every place of all.

    maps: (N, K, h, w), what a layer gives; picture: a number; place: (row, column).
    Returns (N, h, w). Where a vector is zero, 0.
    """
    vector = maps[picture, :, place[0], place[1]]
    products = torch.einsum("nkhw,k->nhw", maps, vector)
    lengths = maps.norm(dim=1) * vector.norm()
    return products / lengths.clamp(min=1e-30)


def pixel_cases(draw: Draw):
    yield Case("a square map", (draw.numbers(6, 6), (96, 96)))
    yield Case("a wide picture", (draw.numbers(4, 10), (60, 200)))
    yield Case("a tall one; the map must stay", (draw.numbers(7, 3), (140, 70)), probe="both")


@SHEET.exercise(
    "concepts.best_pixel", "Back to the picture", points=2, minutes=7, difficulty=2,
    cases=pixel_cases,
    mistakes=(
        ("return x, y", "return y, x", "First comes x, as in a picture: it runs along the columns."),
        ("argmax", "argmin", "That is the least similar place."),
        ({"(column + 0.5)": "column", "(row + 0.5)": "row"},
            "That is the corner of the place. Its middle lies half a place further."),
        ("divmod(int(similarity.argmax()), columns)", "divmod(int(similarity.argmax()), rows)",
            "A flat index counts along the rows: divide by the number of columns."),
        ({"size[1] / columns": "size[0] / columns", "size[0] / rows": "size[1] / rows"},
            "The size is (height, width): x goes with the width."),
    ),
)  # fmt: skip
def best_pixel(similarity, size):
    """The pixel in the middle of the most similar place.

    similarity: (h, w), of one picture; size: (height, width) of the picture.
    Returns (x, y), two numbers.
    """
    rows, columns = similarity.shape
    row, column = divmod(int(similarity.argmax()), columns)
    x = (column + 0.5) * size[1] / columns
    y = (row + 0.5) * size[0] / rows
    return x, y


def hit_cases(draw: Draw):
    def case(name, n, places, shift=0.0, probe=None):
        parts = torch.randint(5, (n, places), generator=draw.generator)
        parts[:, 0] = 1 + torch.randint(4, (n,), generator=draw.generator)
        asked = 1 + torch.randint(4, (n,), generator=draw.generator)
        return Case(name, (draw.numbers(n, places) + shift, parts, asked), probe=probe)

    yield case("eight places asked about", 8, 6)
    yield case("similarities below 0", 9, 7, shift=-4.0)
    yield case("twelve; the arguments must stay", 12, 9, probe="both")


@SHEET.exercise(
    "concepts.part_hits", "Is it the same part?", points=3, minutes=10, difficulty=2,
    cases=hit_cases, compare="exact",
    mistakes=(
        ('torch.where(parts > 0, similarity, -float("inf"))', "similarity",
            "You search the whole picture. Candidates are the places on a part of the object: parts > 0."),
        ('-float("inf")', "0.0",
            "A place that is no candidate still wins where all others are below 0. Give it minus infinity."),
        ("argmax", "argmin", "That is the least similar place. Take the most similar."),
        ("== asked", "!= asked", "These are the misses."),
        ("parts > 0", "parts == asked[:, None]",
            "You let only places of the right part take part: all are hits then. Candidates are all parts."),
    ),
)  # fmt: skip
def part_hits(similarity, parts, asked):
    """For each place asked about: is the most similar place of the other object of the same part?

    similarity: (Q, P), of all places of the other picture; parts: (Q, P), their parts, 0 = none;
    asked: (Q,), the part asked about. Returns (Q,), True or False.
    """
    candidates = torch.where(parts > 0, similarity, -float("inf"))
    best = candidates.argmax(1, keepdim=True)
    found = parts.gather(1, best)[:, 0]
    return found == asked
