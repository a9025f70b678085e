"""Efros-Leung against the plain loop over pixels: at least twenty times as fast, in one run.

python tests/benchmarks/bench_efros_leung.py
"""

from __future__ import annotations

import time

import torch

from labkit.data import texture
from labkit.style import efros_leung_result
from labkit.style.nonparametric import best_windows

SIDE, WINDOW, PIXELS = 32, 7, 6
LEAST = 20


def plain(sample: torch.Tensor, seen: torch.Tensor, weights: torch.Tensor, tolerance: float) -> list[int]:
    """The candidates by four loops, as one would write them first: numbers of Python's own."""
    picture, around, fall = sample.tolist(), seen.tolist(), weights.tolist()
    away = []
    for row in range(SIDE - WINDOW + 1):
        for column in range(SIDE - WINDOW + 1):
            total = 0.0
            for channel in range(3):
                for down in range(WINDOW):
                    for right in range(WINDOW):
                        one = picture[channel][row + down][column + right] - around[channel][down][right]
                        total += fall[down][right] * one * one
            away.append(total)
    least = min(away)
    return [number for number, value in enumerate(away) if value <= (1 + tolerance) * least + 1e-9]


def test_it_is_at_least_twenty_times_as_fast_as_the_plain_loop() -> None:
    sample = texture("scales", SIDE)
    draw = torch.Generator().manual_seed(0)
    cases = [
        (torch.rand(3, WINDOW, WINDOW, generator=draw), torch.rand(WINDOW, WINDOW, generator=draw))
        for _ in range(PIXELS)
    ]
    begun = time.process_time()
    slow = [plain(sample, seen, weights, 0.1) for seen, weights in cases]
    by_loop = (time.process_time() - begun) / PIXELS
    windows = torch.nn.functional.unfold(sample[None], WINDOW)[0].T.contiguous()
    for (seen, weights), wanted in zip(cases, slow, strict=True):
        found = best_windows(windows, seen.flatten(), weights.expand(3, -1, -1).flatten(), 0.1)
        assert found.tolist() == wanted
    begun = time.process_time()
    efros_leung_result(sample[None], side=20, window=WINDOW)  # all that it does, not the distances alone
    at_once = (time.process_time() - begun) / (20 * 20 - 9)
    ratio = by_loop / at_once
    print(
        f"Efros-Leung: {1e3 * at_once:.2f} ms a pixel, the plain loop {1e3 * by_loop:.1f}: {ratio:.0f} times"
    )
    assert ratio >= LEAST


if __name__ == "__main__":
    test_it_is_at_least_twenty_times_as_fast_as_the_plain_loop()
