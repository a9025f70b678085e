"""TCAV with 100 random concepts: seconds, and how often as long it would take without kept activations.

    python tests/benchmarks/bench_tcav.py [POOL]

40 pictures of a concept, 40 of a class, ``POOL`` others (default 1,000) of scenes' size, noise for pictures;
100 random concepts of ten vectors each, by means of channels and by all numbers of the layer. Without kept
activations each vector's 80 pictures run through the network again: that is timed on a few and multiplied.
The bars: under 60 s on two cores, and at least 20 times as fast. Not run by pytest.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from labkit.concepts import tcav_result
from labkit.models import features, load_model

LAYER, SIZE, CHANCES, DRAWS = "features.13", 40, 100, 10


def main() -> None:
    """Time both ways, and say what they took."""
    pool = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rng, model = np.random.default_rng(0), load_model("minivgg")
    pictures = rng.integers(0, 256, (pool + 2 * SIZE, 128, 128, 3), np.uint8)
    images = torch.from_numpy(pictures[:SIZE]).permute(0, 3, 1, 2).float() / 255
    begun = time.perf_counter()
    for _ in range(3):
        features(model, pictures[: 2 * SIZE], LAYER, pool="mean")
    again = (time.perf_counter() - begun) / 3 * DRAWS * (CHANCES + 1)
    print(f"{pool} pictures to deal from; every vector's pictures anew: {again:.0f} s (multiplied)")
    for pool_by in ("mean", None):
        begun, busy = time.perf_counter(), time.process_time()
        tcav_result(
            model, images, 0, layer=LAYER, concept=pictures[SIZE : 2 * SIZE], others=pictures[2 * SIZE :],
            random_concepts=CHANCES, draws=DRAWS, pool=pool_by, progress=lambda share: None,
        )  # fmt: skip
        took, busy = time.perf_counter() - begun, time.process_time() - busy
        told = "under a minute" if took < 60 else "TOO LONG"
        print(f"pool={pool_by!r}: {took:.1f} s, {told} ({busy:.1f} s of the processor); ", end="")
        print(f"{again / took:.0f} times as fast")


if __name__ == "__main__":
    main()
