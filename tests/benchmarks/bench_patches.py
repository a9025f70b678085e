"""Top patches: seconds for all units of a layer in one pass, and the memory at 1,000 and 4,000 scenes.

    python tests/benchmarks/bench_patches.py 1000 4000

Each count runs in a process of its own, on pictures of scenes' size that lie on the disk. The peak is that of
the process's own memory, looked at every 10 ms: pages of the mapped file can be dropped and do not count. The
bar: the peak at 4,000 is at most 1.1 times that at 1,000. Not run by pytest; Linux alone.
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

LAYER = "features.19"


def own_memory() -> float:
    """The process's own memory now, in MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024


def once(count: int, path: str) -> dict[str, float]:
    """One pass over the first ``count`` pictures of a file."""
    import torch

    from labkit.models import load_model
    from labkit.visualization import top_patches_result

    torch.set_num_threads(1)
    pictures, model = np.load(path, mmap_mode="r")[:count], load_model("minivgg")
    peak, over = [0.0], Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], own_memory())

    watcher = Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    found = top_patches_result(model, pictures, LAYER, progress=lambda share: None)
    seconds = time.perf_counter() - begun
    over.set()
    watcher.join()
    assert found.seen == count
    return {"seconds": seconds, "peak": peak[0]}


def main() -> None:
    """Draw coarse noise onto the disk, then one process a count."""
    counts = [int(word) for word in sys.argv[1:]] or [1000, 4000]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.npy"
        shown = np.lib.format.open_memmap(path, "w+", np.uint8, (max(counts), 128, 128, 3))
        rng = np.random.default_rng(0)
        for first in range(0, max(counts), 500):
            part = shown[first : first + 500]
            part[:] = rng.integers(0, 256, (len(part), 8, 8, 3), np.uint8).repeat(16, 1).repeat(16, 2)
        del shown
        peaks = []
        for count in counts:
            run = [sys.executable, __file__, "--once", str(count), str(path)]
            row = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
            print(f"{count:5} scenes: {row['seconds']:.1f} s, peak {row['peak']:.0f} MB", flush=True)
            peaks.append(row["peak"])
    print(f"{peaks[-1] / peaks[0]:.3f} times (at most 1.1)")


if __name__ == "__main__":
    if "--once" in sys.argv:
        print(json.dumps(once(int(sys.argv[2]), sys.argv[3])))
    else:
        main()
