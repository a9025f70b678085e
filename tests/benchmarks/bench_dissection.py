"""Dissection: scenes a second of 256 units in one streaming pass beside storing the enlarged maps; memory.

    python tests/benchmarks/bench_dissection.py

Both ways count the pixels of 256 units against the same labels on 200 scenes, from the same activations of a
layer of 16 x 16 places. The old way writes every enlarged map to the disk and reads it again, label by label,
as the first code for dissection did; here pixels are counted as they come. The bars: at least ten times the
scenes a second, and the peak of the process's own memory at 5,000 pictures at most 1.1 times that at 1,000
(pictures of noise on the disk). Not run by pytest; Linux alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np

SCENES, UNITS, SIDE, QUANTILE = 200, 256, 128, 0.005
KINDS = ("object", "part")


def network():
    """A network with a layer of 256 units at an eighth of the picture's side, untrained."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, UNITS)):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers).eval(), "5"


def world():
    """200 scenes with label maps of two kinds, and their labels' names."""
    from labkit.data import MiniBroden

    stack = MiniBroden(SCENES, "test").stack()
    maps = {kind: np.asarray(stack.maps[kind]) for kind in KINDS}
    return stack.images, maps, {kind: tuple(MiniBroden.names[kind][1:]) for kind in KINDS}


def streamed(model, layer, images, maps, names, thresholds):
    """Both counts in one pass, as the library does it."""
    from labkit.concepts.dissection import unit_counts

    return unit_counts(model, images, layer=layer, maps=maps, names=names, thresholds=thresholds).iou


def stored(model, layer, images, maps, names, thresholds, folder):
    """Enlarge all maps onto the disk, then count a label at a time over the whole file."""
    import torch
    import torch.nn.functional as F

    from labkit.models import features

    small = features(model, images, layer, pool=None)
    path = Path(folder) / "maps.npy"
    large = np.lib.format.open_memmap(path, "w+", np.float16, (len(images), UNITS, SIDE, SIDE))
    for n in range(len(images)):
        large[n] = F.interpolate(small[n : n + 1], size=(SIDE, SIDE), mode="bilinear")[0].half().numpy()
    large.flush()
    cuts = thresholds.numpy().astype(np.float16)[:, None, None]
    rows = []
    for kind, values in maps.items():
        labels = len(names[kind])
        both, unit = np.zeros((UNITS, labels)), np.zeros(UNITS)
        for n in range(len(images)):
            if not values[n].any():
                continue
            masks = large[n] > cuts
            unit += masks.sum((1, 2))
            for label in np.unique(values[n]):
                if label:
                    both[:, label - 1] += (masks & (values[n] == label)).sum((1, 2))
        area = np.bincount(values.ravel(), minlength=labels + 1)[1:]
        rows.append(both / np.maximum(unit[:, None] + area - both, 1))
    return torch.from_numpy(np.concatenate(rows, 1))


def compare() -> float:
    """Scenes a second of both ways, and how many times as many the streaming one has."""
    import torch

    from labkit.concepts.thresholds import unit_thresholds

    torch.set_num_threads(1)
    model, layer = network()
    images, maps, names = world()
    begun = time.perf_counter()
    thresholds = unit_thresholds(model, images, layer=layer, quantile=QUANTILE)
    first = time.perf_counter() - begun
    begun, busy = time.perf_counter(), time.process_time()
    found = streamed(model, layer, images, maps, names, thresholds)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    with tempfile.TemporaryDirectory() as folder:
        begun, busier = time.perf_counter(), time.process_time()
        old = stored(model, layer, images, maps, names, thresholds, folder)
        longer, busier = time.perf_counter() - begun, time.process_time() - busier
    assert (found - old).abs().max() < 0.02, "the two ways disagree"
    print(f"thresholds alone     {SCENES / first:8.1f} scenes a second")
    print(f"counts, streamed     {SCENES / seconds:8.1f}")
    print(f"counts, maps stored  {SCENES / longer:8.1f}")
    print(f"streaming is {longer / seconds:.1f} times as fast; the bar is 10", end="; ")
    print(f"{busier / busy:.1f} times by the processor's time")  # what counts on a busy machine
    return longer / seconds


def own_memory() -> float:
    """The process's own memory now, in MB; pages of mapped files do not count."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024


def once(count: int, folder: str) -> dict[str, float]:
    """Dissect the first so many pictures of a file."""
    import torch

    from labkit.concepts import dissect_result

    torch.set_num_threads(1)
    pictures = np.load(f"{folder}/pictures.npy", mmap_mode="r")[:count]
    labels = np.load(f"{folder}/labels.npy", mmap_mode="r")[:count]
    model, layer = network()
    peak, over = [0.0], Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], own_memory())

    watcher = Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    names = {"object": tuple(f"label {i}" for i in range(20))}
    dissect_result(
        model, pictures, layer=layer, maps={"object": labels}, names=names, progress=lambda done: None
    )
    seconds = time.perf_counter() - begun
    over.set()
    watcher.join()
    return {"seconds": seconds, "peak": peak[0]}


def memory(counts=(1000, 5000)) -> float:
    """The peaks of a process a count, and the last over the first."""
    with tempfile.TemporaryDirectory() as folder:
        draw = np.random.default_rng(0)
        shape = (max(counts), SIDE, SIDE)
        pictures = np.lib.format.open_memmap(f"{folder}/pictures.npy", "w+", np.uint8, (*shape, 3))
        labels = np.lib.format.open_memmap(f"{folder}/labels.npy", "w+", np.uint8, shape)
        for n in range(shape[0]):
            coarse = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            pictures[n] = coarse.repeat(8, 0).repeat(8, 1)
            labels[n] = draw.integers(0, 21, (16, 16), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        pictures.flush()
        labels.flush()
        peaks = []
        for count in counts:
            code = f"import bench_dissection as b, json; print(json.dumps(b.once({count}, {folder!r})))"
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            found = json.loads(ran.stdout.splitlines()[-1])
            print(f"{count:6} pictures: {found['seconds']:6.1f} s, at most {found['peak']:.0f} MB")
            peaks.append(found["peak"])
    print(f"{peaks[-1] / peaks[0]:.2f} times the memory; the bar is 1.1")
    return peaks[-1] / peaks[0]


if __name__ == "__main__":
    good = compare() >= 10, memory() <= 1.1
    sys.exit(0 if all(good) else 1)
