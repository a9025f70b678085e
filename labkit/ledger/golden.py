"""Golden answers: what each function that a measured number may rest on gives on four scenes, in few numbers.

They say whether *behaviour* has changed, which is what makes a measured number stale; text may change freely.
`labkit.ledger.golden_calls` has the calls, ``golden.json`` beside this file their answers, and a test holds
one against the other in every run. A call that is there is not changed without need, for what rests on it
would be stale; another one may stand beside it. ``python -m labkit.ledger.golden`` compares, ``--write``
rewrites what has moved.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.core.checks import check_choice
from labkit.core.files import write_whole
from labkit.ledger.golden_calls import calls

FILE = Path(__file__).with_suffix(".json")
SIDE = 4  # area means a picture, along each side
WHOLE = 40  # a tensor of no more numbers is kept as it is
MOMENTS = (
    "mean",
    "size",
    "mean size",
    "lowest",
    "highest",
    "third moment",
    "fourth moment",
    "share not zero",
)
PROJECTIONS = 4
FIRST_AREA = 1 + len(MOMENTS) + PROJECTIONS
NOTHING = 1e-9  # what is smaller is rounding, and so is how it differs
Output = str | list[Any]  # a word, or the shape and then the numbers
Answer = dict[str, Output]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors, numbers and words within a value, by name."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        if value and all(isinstance(part, bool | int | float) for part in value):
            yield name, torch.tensor([float(part) for part in value], dtype=torch.float64)
        elif value and all(isinstance(part, str) for part in value):
            yield name, " ".join(value)
        else:
            for number, part in enumerate(value):
                yield from _flat(part, f"{name}.{number}" if name else str(number))
    elif isinstance(value, Tensor):
        yield name, value.detach().cpu().to(torch.float64)
    elif isinstance(value, bool | int | float):
        yield name, torch.tensor([float(value)], dtype=torch.float64)
    else:
        yield name, str(value)


def _areas(x: Tensor) -> list[float]:
    """Means over areas of each picture, of what is at least 16 pixels high and wide."""
    if x.ndim < 3 or min(x.shape[-2:]) < 16:
        return []
    pictures = x.flatten(1, -3).mean(1) if x.ndim > 3 else x
    return torch.nn.functional.adaptive_avg_pool2d(pictures[:, None], SIDE).flatten().tolist()


def summary(x: Tensor) -> list[Any]:
    """A tensor in few numbers: its shape, NaNs, moments, projections on fixed waves, and area means.

    >>> summary(torch.tensor([1.0, 2.0]))
    ['2', 1.0, 2.0]
    """
    shape = "x".join(map(str, x.shape)) or "one"
    x = x.detach().cpu().to(torch.float64)
    if x.numel() <= WHOLE:
        return [shape, *(float(f"{v:.8g}") for v in x.flatten().tolist())]
    holes = int((~torch.isfinite(x)).sum())
    x = x.nan_to_num(0.0, 0.0, 0.0)
    flat, size = x.flatten(), float(x.square().mean().sqrt())
    unit = flat / size if size else flat
    shares: list[Any] = [size * unit.pow(3).mean(), size * unit.pow(4).mean(), (flat != 0).double().mean()]
    moments: list[Any] = [flat.mean(), size, flat.abs().mean(), flat.min(), flat.max(), *shares]
    place = torch.arange(len(flat), dtype=torch.float64)
    waves = [torch.cos(place * math.sqrt(2 + 3 * k) + k) for k in range(PROJECTIONS)]
    projected = [float((flat * wave).sum()) / math.sqrt(len(flat)) for wave in waves]
    return [
        shape,
        holes,
        *(float(f"{v:.8g}") for v in [*(float(m) for m in moments), *projected, *_areas(x)]),
    ]


def answer(name: str) -> Answer:
    """Make a golden call and give its answer: output's name -> summary. On one thread.

    Raises KeyError for a name that is not among the golden calls.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = dict(_flat(calls()[name].run()))
    finally:
        torch.set_num_threads(threads)
    return {out: v if isinstance(v, str) else summary(v) for out, v in found.items()}


def stored(path: Path = FILE) -> dict[str, Answer]:
    """The golden answers of the file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _where(shape: str, place: int) -> str:
    """What the number at a place of a summary says."""
    sides = [int(s) for s in shape.split("x")] if shape != "one" else []
    if math.prod(sides) <= WHOLE:
        return f"number {place}" if sides else "the number"
    if place == 0:
        return "count of NaN and infinities"
    if place <= len(MOMENTS):
        return MOMENTS[place - 1]
    if place < FIRST_AREA:
        return f"projection {place - 1 - len(MOMENTS)}"
    picture, cell = divmod(place - FIRST_AREA, SIDE * SIDE)
    return f"area {cell // SIDE}, {cell % SIDE} of picture {picture}"


def _moved(old: Output, new: Output, rtol: float) -> str:
    """The largest difference of two summaries, as a sentence; empty where they agree within the tolerance."""
    if isinstance(old, str) or isinstance(new, str) or old[0] != new[0] or len(old) != len(new):
        said = [o if isinstance(o, str) else f"shape {o[0]}" for o in (old, new)]
        return "" if old == new else f"was {said[0]}, is {said[1]}"
    numbers = len(old) - 1
    whole = math.prod(int(s) for s in str(old[0]).split("x")) <= WHOLE if old[0] != "one" else True
    size = max((abs(v) for v in old[1:] if v == v), default=0.0) if whole else abs(old[3])
    offs = {}
    for place in range(numbers):
        a, b = float(old[place + 1]), float(new[place + 1])
        if a != b and not (a != a and b != b):
            offs[place] = abs(a - b) / max(size, abs(a), NOTHING)
    if not offs or all(off <= rtol for off in offs.values()):
        return ""
    worst = max(offs, key=lambda place: offs[place] if offs[place] == offs[place] else math.inf)
    areas = [place for place in offs if place >= FIRST_AREA and not whole]
    most = f", most in {_where(str(old[0]), max(areas, key=offs.__getitem__))}" if areas else ""
    return (
        f"{_where(str(old[0]), worst)} was {old[worst + 1]:.6g}, is {new[worst + 1]:.6g}: "
        f"off by {offs[worst]:.1e} of its size (allowed {rtol:g}){most}"
    )


def differences(name: str, new: Answer, old: Answer | None) -> list[str]:
    """How an answer differs from the one kept: a line an output, which says where and how far.

    >>> differences("evaluation.iou", {"": ["1", 0.5]}, {"": ["1", 0.25]})[0]
    'evaluation.iou: number 0 was 0.25, is 0.5: off by 1.0e+00 of its size (allowed 0.0001)'
    """
    if old is None:
        return [f"{name} has no golden answer yet"]
    lines = []
    for out in dict.fromkeys([*old, *new]):
        title = f"{name}, {out}" if out else name
        if out not in new or out not in old:
            lines.append(f"{title}: {'is not given any more' if out in old else 'is new'}")
        elif moved := _moved(old[out], new[out], calls()[name].rtol):
            lines.append(f"{title}: {moved}")
    return lines


def compare(
    names: Iterable[str] | None = None, old: Mapping[str, Answer] | None = None
) -> dict[str, list[str]]:
    """Make the golden calls (all, or those named) and give what differs: name -> lines; empty if nothing."""
    kept = stored() if old is None else old
    found = {name: differences(name, answer(name), kept.get(name)) for name in (names or calls())}
    return {name: lines for name, lines in found.items() if lines}


def write(path: Path = FILE, names: Iterable[str] | None = None) -> list[str]:
    """Write the answers of all calls, or of those named; what fits stays to the digit. Gives what moved."""
    old = stored(path)
    kept, moved = {name: old[name] for name in calls() if name in old}, []
    for name in names or calls():
        new = answer(name)
        lines = differences(name, new, old.get(name))
        kept[name] = new if lines else old[name]
        moved += lines
    moved += [f"{name} has no call any more" for name in old if name not in calls()]
    write_whole(path, text_of(kept))
    return moved


def text_of(answers: Mapping[str, Answer]) -> str:
    """The file's text: a line an output, so that a change is a line in a diff."""
    parts = []
    for name in sorted(answers):
        lines = [f"  {json.dumps(out)}: {json.dumps(value)}" for out, value in answers[name].items()]
        parts.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Compare golden answers, all or those named, or rewrite those that have moved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as attribution.cam (default: all)")
    parser.add_argument("--write", action="store_true", help="write what has moved into golden.json")
    given = parser.parse_args()
    for name in given.names:
        check_choice("NAME", name, [*calls(), *stored()])
    if given.write:
        print(*write(names=given.names) or ["nothing has moved"], sep="\n")
        return
    lines = [line for several in compare(given.names).values() for line in several]
    count = len(given.names or calls())
    print(*lines or [f"{count} golden answers are as they were"], sep="\n")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
