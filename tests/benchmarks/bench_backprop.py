"""Guided backpropagation beside Captum's, in one run.

    python tests/benchmarks/bench_backprop.py minivgg-random squeezenet1_1 --pictures 1 8
    pytest tests/benchmarks/bench_backprop.py

Both give the same gradient; the two take turns, and the thread's own seconds count, so that what else runs
on the machine does not. Ours also checks pictures, graph and answer and gives the model back, which costs a
few tenths of a millisecond a call, whatever the network. Not run by pytest unless it is named.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import pytest
import torch
from bench_occlusion import network

from labkit.attribution import guided_backprop_result


def seconds(function: Callable[[], object]) -> float:
    start = time.thread_time()
    function()
    return time.thread_time() - start


def compare(name: str, pictures: int, repeats: int = 15) -> tuple[float, float]:
    """The seconds of both, medians of turns."""
    captum = pytest.importorskip("captum.attr")
    warnings.simplefilter("ignore")  # Captum's, of the hooks that it sets
    model, side = network(name)
    images = torch.rand(pictures, 3, side, side, generator=torch.Generator().manual_seed(0))
    theirs = captum.GuidedBackprop(model)

    def other() -> torch.Tensor:
        return theirs.attribute(images.clone().requires_grad_(True), target=1)

    ours = guided_backprop_result(model, images, 1).gradient
    assert torch.allclose(ours, other(), rtol=1e-3, atol=1e-5 * float(ours.abs().max()))
    took = [
        (seconds(lambda: guided_backprop_result(model, images, 1)), seconds(other)) for _ in range(repeats)
    ]
    one, two = (statistics.median(column) for column in zip(*took, strict=True))
    return one, two


@pytest.mark.parametrize(("name", "pictures"), [("minivgg-random", 8), ("squeezenet1_1", 2)])
def test_guided_backpropagation_costs_no_more_than_captum(name: str, pictures: int) -> None:
    torch.set_num_threads(1)
    ours, theirs = compare(name, pictures)
    assert ours <= 1.05 * theirs  # what two runs of the same differ by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["minivgg-random", "squeezenet1_1"])
    parser.add_argument("--pictures", type=int, nargs="*", default=[1, 8])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        for pictures in options.pictures:
            ours, theirs = compare(name, pictures)
            print(
                f"{name:16} {pictures:2} pictures  ours {1e3 * ours:7.2f} ms  Captum {1e3 * theirs:7.2f} ms  "
                f"ratio {ours / theirs:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
