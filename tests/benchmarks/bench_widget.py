"""From key press to new pixels: the occlusion explorer against ``interact`` with an inline figure.

Run ``python tests/benchmarks/bench_widget.py`` (a minute or two); it needs a browser and the extra ``test``.
Both run in one JupyterLab, one after the other, on maps computed beforehand: the way to the eye is measured.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.conftest import BROWSERS  # noqa: E402
from browser.jupyter import Lab  # noqa: E402

SETUP = """
import matplotlib.pyplot as plt, torch
from ipywidgets import IntSlider, interact
import labkit.widgets.occlusion
from labkit.attribution import occlusion
from labkit.models import load_model
from labkit.widgets import OcclusionExplorer
labkit.widgets.occlusion.LADDER = 1e9
labkit.widgets.occlusion.FILLS = ("grey",)
torch.set_num_threads(1)
model = load_model("minivgg-random")
picture = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
sizes = [16, 24, 32, 48, 64]
"""
BASE = """
maps = [occlusion(model, picture, 0, window=size, stride=16)[0] for size in sizes]

def draw(i):
    plt.imshow(maps[i], cmap="RdBu_r")
    plt.show()

interact(draw, i=IntSlider(value=0, min=0, max=4));
"""
OURS = """
w = OcclusionExplorer(model, picture, target=0, windows=sizes, strides=[16, 32], window=16)
w.wait_idle(); w.precompute()
w
"""
# notes the time of each key press and of the first frame that shows something new
WATCH = """(look) => {
  const state = () => eval(look);
  window.times = []; let began = null, before = state();
  document.addEventListener('keydown', (e) => { began = e.timeStamp; }, true);
  const tick = () => {
    const now = state();
    if (began !== null && now !== before) { window.times.push(performance.now() - began); began = null; }
    before = now; requestAnimationFrame(tick);
  };
  tick(); void 0 }"""
EXPLORER = "document.querySelector('.lk-occlusion').explorer"
WORK = f"""() => {{ const e = {EXPLORER}, spent = {{ key: [], hover: [] }};
  const timed = (list, f) => {{ const t = performance.now(); f(); list.push(performance.now() - t); }};
  for (let i = 0; i < 40; i++) timed(spent.key, () => e.set({{ window: [16, 24, 32, 48, 64][i % 5] }}));
  for (let i = 0; i < 40; i++) timed(spent.hover, () => e.hover((i * 7) % 128, (i * 13) % 128));
  return spent }}"""


def presses(page, handle: str, look: str, count: int = 16) -> list[float]:
    """Milliseconds from each of ``count`` key presses on ``handle`` to the frame with new pixels."""
    page.locator(handle).evaluate("(n) => { n.setAttribute('data-lm-suppress-shortcuts', 'true'); void 0 }")
    page.evaluate(WATCH, look)
    for i in range(count):
        page.locator(handle).press("ArrowRight" if i % 8 < 4 else "ArrowLeft")
        page.wait_for_function("(n) => window.times.length >= n", arg=i + 1)
    return page.evaluate("() => window.times")


def main() -> None:
    """Print the medians and their ratio."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"no browser found; install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        lab = Lab(Path(folder))
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])

        def open_page(url, ready, width):
            page = browser.new_page(viewport={"width": width, "height": 1000})
            page.set_default_timeout(180_000)
            page.goto(url)
            page.wait_for_selector(ready)
            return page

        try:
            page = lab.open(open_page, [SETUP, BASE], ".widget-output img, .jupyter-widgets-output-area img")
            base = presses(
                page, ".noUi-handle", "[...document.querySelectorAll('.jp-OutputArea img')].pop()?.src"
            )
            page.close()
            page = lab.open(open_page, [SETUP, OURS], ".lk-map")
            known = (
                "() => [...document.querySelectorAll('.lk-ticks')][0].querySelectorAll('i:not(.on)').length"
            )
            page.wait_for_function(f"{known} === 0")
            ours = presses(page, ".lk-slider input >> nth=0", f"{EXPLORER}.drawn")
            work = page.evaluate(WORK)
        finally:
            lab.close()
            browser.close()
    for name, values in {
        "interact, key to pixels": base,
        "explorer, key to pixels": ours,
        "explorer, a new patch size": work["key"],
        "explorer, hover": work["hover"],
    }.items():
        print(f"{name:28} median {statistics.median(values):7.1f} ms, worst {max(values):7.1f} ms")
    print(f"{'times faster than interact':28} {statistics.median(base) / statistics.median(ours):6.1f}")


if __name__ == "__main__":
    main()
