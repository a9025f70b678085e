"""A frame of the embedding explorer with 2,000 pictures, as a multiple of the same with 200.

Run ``python tests/benchmarks/bench_embedding.py`` (a minute); it needs a browser and the extra ``test``. The
time is what drawing takes in the page, in one run: a pan, a zoom, a pointer that moves from picture to
picture, and all pictures drawn anew. The first three should cost at most three times as much for ten times
the pictures, the last at most fifteen times.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.conftest import BROWSERS  # noqa: E402
from browser.pages import network  # noqa: E402

from labkit.widgets import EmbeddingExplorer  # noqa: E402

VIEW = "document.querySelector('#root').explorer"
TIMES = f"""() => {{ const v = {VIEW}, spent = {{ pan: [], zoom: [], hover: [], whole: [] }};
  const flush = () => v.ui.plane.canvas.getContext('2d').getImageData(0, 0, 1, 1);
  const timed = (list, f) => {{ const t = performance.now(); f(); v.redraw(); flush(); list.push(performance.now() - t); }};
  for (let i = 0; i < 30; i++) timed(spent.pan, () => {{ v.moving = true; v.at.x += 2; }});
  for (let i = 0; i < 30; i++) timed(spent.zoom, () => {{ v.at.scale *= 1.02; }});
  v.moving = false; for (let i = 0; i < 8; i++) timed(spent.whole, () => {{ v.version += 1; }});
  for (let i = 0; i < 30; i++) timed(spent.hover, () => {{ v.ghost = v.closest(20 * i, 300, 1e4); }});
  return spent }}"""  # noqa: E501


def page_of(count: int, folder: Path) -> Path:
    """The saved page of an explorer of this many pictures, by PCA."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 64, 64, generator=generator)
    rows = torch.randn(count, 20, generator=generator)
    explorer = EmbeddingExplorer(network(), images, features=rows, picture=1)
    return explorer.save_html(folder / f"{count}.html", limit_mb=20)


def main() -> None:
    """Print the medians for both sizes, and their ratios."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser found; install one of {', '.join(BROWSERS)}")
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for count in (200, 2000):
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.set_default_timeout(180_000)
            page.goto(page_of(count, Path(folder)).as_uri())
            page.wait_for_function(f"() => Boolean({VIEW}?.sheet && {VIEW}.points)")
            found[count] = {name: statistics.median(t) for name, t in page.evaluate(TIMES).items()}
            page.close()
        browser.close()
    for name, small in found[200].items():
        large = found[2000][name]
        print(f"{name:6} {small:6.2f} ms with 200, {large:6.2f} ms with 2,000: {large / small:5.1f} times")


if __name__ == "__main__":
    main()
