"""What four areas of an extremal perturbation cost beside one, in one run.

    python tests/benchmarks/bench_masks.py squeezenet1_1 resnet18 minivgg-random --repeats 5

All areas are searched together, in one batch, so that four should cost less than four times one (at most
three). The two take turns; the medians are printed, and the ratio with its range. Not run by pytest.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from bench_occlusion import network, timed

from labkit.attribution import extremal_perturbation

AREAS = (0.05, 0.1, 0.2, 0.4)


def compare(name: str, steps: int, repeats: int) -> str:
    """One line: the seconds of one area and of four, and the ratio with its range."""
    model, side = network(name)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    extremal_perturbation(model, image, 1, area=AREAS, steps=2)
    seconds = []
    for turn in range(repeats):
        asked = [(0.1,), AREAS] if turn % 2 == 0 else [AREAS, (0.1,)]
        took = {
            len(areas): timed(lambda a=areas: extremal_perturbation(model, image, 1, area=a, steps=steps))[0]
            for areas in asked
        }
        seconds.append((took[1], took[4]))
    ratios = sorted(four / one for one, four in seconds)
    one, four = (statistics.median(column) for column in zip(*seconds, strict=True))
    return (
        f"{name:16} {side:4} px  one area {one:6.2f} s  four areas {four:6.2f} s  "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["squeezenet1_1", "resnet18", "minivgg-random"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {options.steps} steps")
    for name in options.names:
        print(compare(name, options.steps, options.repeats), flush=True)


if __name__ == "__main__":
    main()
