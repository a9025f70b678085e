"""How long occlusion takes beside Captum's, on the same network, picture and windows, in one run.

    python tests/benchmarks/bench_occlusion.py minivgg-random squeezenet1_1 --repeats 5

labkit runs with its defaults, Captum with its own (a window at a time) and with the batch size of two that
serves it best. They take turns, so that a busy machine slows all; the ratio of each turn is taken, and its
median and range printed. Windows fit the picture exactly, because Captum's map falls at the right and bottom
edge otherwise; the maps must agree to 1e-4 of their maximum. Not run by pytest. Networks that are not bundled
have random weights: that changes no time.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from labkit.attribution import occlusion
from labkit.models import bundled_models, load_model


def network(name: str) -> tuple[nn.Module, int]:
    """A network in eval mode and the side of its pictures."""
    if name in bundled_models():
        model = load_model(name)
        return model, model.input_size
    from torchvision import models

    torch.manual_seed(0)
    return models.get_model(name, weights=None).eval(), 224


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


def compare(name: str, window: int, stride: int, repeats: int) -> str:
    """One line: seconds of both, the ratio with its range, and how far the maps lie apart."""
    model, side = network(name)
    if (side - window) % stride:
        raise SystemExit(f"{name}: windows of {window} every {stride} do not fit {side} pixels exactly.")
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    peer = Occlusion(model)

    def ours() -> Tensor:
        return occlusion(model, image, 1, window=window, stride=stride)[0]

    def theirs(batch: int) -> Tensor:
        with torch.no_grad():
            return peer.attribute(
                image, (3, window, window), (3, stride, stride), baselines=0.5, target=1,
                perturbations_per_eval=batch,
            )[0, 0]  # fmt: skip

    best = min((8, 32), key=lambda size: timed(lambda: theirs(size))[0])
    works: list[Callable[[], Tensor]] = [ours, lambda: theirs(1), lambda: theirs(best)]
    ours()
    seconds = []
    for turn in range(repeats):
        order = range(3) if turn % 2 == 0 else range(2, -1, -1)
        times = {k: timed(works[k]) for k in order}
        seconds.append([times[k][0] for k in range(3)])
    mine, other = times[0][1], times[2][1]
    apart = float((mine - other).abs().max() / other.abs().max())
    if apart > 1e-4:
        raise SystemExit(f"{name}: the maps differ by {apart:.1e} of their maximum.")
    said = f"{name:16} {side:4} px  labkit {statistics.median(row[0] for row in seconds):6.2f} s"
    for k, how in ((1, "as it is"), (2, f"batch {best}")):
        ratios = sorted(row[k] / row[0] for row in seconds)
        said += (
            f"  captum ({how}) {statistics.median(row[k] for row in seconds):6.2f} s, "
            f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    return f"{said}  apart {apart:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["squeezenet1_1", "resnet18", "vgg16"])
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, windows {options.window}/{options.stride}")
    for name in options.names:
        print(compare(name, options.window, options.stride, options.repeats), flush=True)


if __name__ == "__main__":
    main()
