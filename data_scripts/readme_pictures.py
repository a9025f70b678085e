"""The two pictures of the README: the explorer as a browser shows it, and the toy world.

    python data_scripts/readme_pictures.py --browser chromium

Needs playwright and a Chromium; both pictures are of the bundled network and the test split.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from labkit.data import CLASSES, MiniBroden
from labkit.models import load_model
from labkit.widgets import OcclusionExplorer

PICTURES = Path(__file__).parent / "pictures"
SHARE = (0.12, 0.3)  # of the picture that the object takes


def found(kind: str, count: int) -> list[int]:
    """The first scenes of this class whose object is neither small nor cut."""
    world, indices, index = MiniBroden(4000, split="test"), [], 0
    while len(indices) < count:
        if world.scene(index).objects[0].kind == kind:
            share = float((world[index]["instance"] == 1).float().mean())
            if SHARE[0] < share < SHARE[1]:
                indices.append(index)
        index += 1
    return indices


def toy_world(across: int = 2, scale: int = 1) -> Image.Image:
    """Two scenes of each class in a grid of three rows, the name above them."""
    world, size, head, gap = MiniBroden(4000, split="test"), 128 * scale, 18, 6
    columns, rows = 4, 3
    width, height = across * size + gap, size + head + gap
    page = Image.new("RGB", (columns * width - gap, rows * height), "white")
    pen = ImageDraw.Draw(page)
    for number, kind in enumerate(CLASSES):
        left, top = number % columns * width, number // columns * height
        pen.text((left + 2, top + 3), kind, fill="black")
        for place, index in enumerate(found(kind, across)):
            pixels = (world[index]["image"].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy()
            page.paste(Image.fromarray(pixels).resize((size, size)), (left + place * size, top + head))
    return page


def screenshot(kind: str, browser: str, out: Path) -> None:
    """The explorer's page on one scene, patch pinned on the object, as Chromium draws it."""
    from playwright.sync_api import sync_playwright

    world, (index,) = MiniBroden(4000, split="test"), found(kind, 1)
    item = world[index]
    explorer = OcclusionExplorer(
        load_model("minivgg"), item["image"][None], labels=[kind], names=[f"test scene {index}"]
    )
    explorer.precompute()
    x0, y0, x1, y1 = item["box"].tolist()
    window = explorer.window
    explorer.patch = [max(0, (x0 + x1 - window) // 2), max(0, (y0 + y1 - window) // 2)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        page_file = explorer.save_html(Path(folder) / "page.html")
        chromium = play.chromium.launch(executable_path=shutil.which(browser), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 900, "height": 520}, device_scale_factor=1.5)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".lk-stage")
        page.locator("#root").screenshot(path=out)
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--kind", default="fire engine", choices=CLASSES)
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    toy_world().save(PICTURES / "toy_world.jpg", quality=90)
    screenshot(options.kind, options.browser, PICTURES / "occlusion_explorer.png")


if __name__ == "__main__":
    main()
