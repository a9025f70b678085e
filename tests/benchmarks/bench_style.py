"""Feed-forward style: pictures a second at 128 pixels, beside the search that it stands in for, in one run.

    python tests/benchmarks/bench_style.py 2

The argument is the number of threads. Network and search take turns. The bar: five pictures a second or more,
one at a time, on two cores. Not run by pytest.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from labkit.data.textures import texture
from labkit.experiments.style_and_content import LOSS, STYLE_LAYERS
from labkit.models import bundled_styles, load_model
from labkit.style import style_transfer, stylize

SIDE, RUNS, STEPS, BAR = 128, 9, 10, 5.0


def seconds(run: object) -> float:
    begun = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - begun


def main() -> None:
    """Time every bundled network, and ten steps of the search between."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    loss, style = load_model(LOSS), texture("mosaic", SIDE)[None]
    networks = {name: load_model(name) for name in bundled_styles()}
    given = {"style_layers": STYLE_LAYERS, "content_layer": "features.9", "optimizer": "adam"}
    times: dict[str, list[float]] = {name: [] for name in [*networks, f"{STEPS} steps of the search"]}
    for _ in range(RUNS):
        for name, network in networks.items():
            times[name].append(seconds(lambda network=network: stylize(network, image)))
        times[f"{STEPS} steps of the search"].append(
            seconds(lambda: style_transfer(loss, image, style, steps=STEPS, **given))  # type: ignore[arg-type]
        )
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:28} {1000 * middle:7.1f} ms a picture, {1 / middle:6.1f} a second")
    slowest = min(1 / statistics.median(times[name]) for name in networks)
    print(f"bar: {BAR:g} a second; the slowest network gives {slowest:.1f}")
    sys.exit(slowest < BAR)


if __name__ == "__main__":
    main()
