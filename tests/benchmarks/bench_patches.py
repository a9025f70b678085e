"""Top patches: seconds for all units of a layer in one pass, and the memory at 1,000 and 4,000 scenes.

Run by hand: ``python tests/benchmarks/bench_patches.py [few many]``. Each count runs in a process of its own, so
that the peak is that count's; the scenes lie on the disk and are drawn at the first run. The bar: the peak at
4,000 scenes is at most 1.1 times that at 1,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np

LAYER = "features.19"


def once(count: int, path: str) -> dict[str, float]:
    """One pass over the first ``count`` pictures of a file, and the most memory the process had."""
    import resource

    import torch

    from labkit.models import load_model
    from labkit.visualization import top_patches_result

    torch.set_num_threads(1)
    pictures = np.load(path, mmap_mode="r")[:count]
    model = load_model("minivgg")
    begun = time.perf_counter()
    found = top_patches_result(model, pictures, LAYER)
    seconds = time.perf_counter() - begun
    assert found.seen == count
    # of the process's own pages, those of the mapped file are no memory of ours
    own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024, "own_mb": own / 1024}


def main() -> None:
    """Draw noise of scenes' size onto the disk, then one process a count."""
    import tempfile
    from pathlib import Path

    counts = [int(word) for word in sys.argv[1:]] or [1000, 4000]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.npy"
        shown = np.lib.format.open_memmap(path, "w+", np.uint8, (max(counts), 128, 128, 3))
        rng = np.random.default_rng(0)
        for first in range(0, max(counts), 500):
            part = shown[first : first + 500]
            part[:] = rng.integers(0, 256, (len(part), 8, 8, 3), np.uint8).repeat(16, 1).repeat(16, 2)
        del shown
        rows = {}
        for count in counts:
            run = [sys.executable, __file__, "--once", str(count), str(path)]
            rows[count] = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
            row = rows[count]
            print(
                f"{count:5} scenes: {row['seconds']:.1f} s, peak {row['peak_mb']:.0f} MB, own {row['own_mb']:.0f} MB"
            )
    few, many = rows[counts[0]], rows[counts[-1]]
    for name in ("peak_mb", "own_mb"):
        print(f"{name}: {many[name] / few[name]:.3f} times (at most 1.1)")


if __name__ == "__main__":
    if "--once" in sys.argv:
        print(json.dumps(once(int(sys.argv[2]), sys.argv[3])))
    else:
        main()
