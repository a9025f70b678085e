"""The exported page of the sanity explorer in a browser: slider, maps drawn, curve."""

import numpy as np
import pytest
import torch

from labkit.widgets import SanityExplorer

pytestmark = pytest.mark.browser

PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
VALUES = (
    """([depth, name]) => Array.from(document.querySelector('#root').explorer.at(depth).maps[name].values)"""
)
NAMES = ["saliency", "gradient_x_input"]


@pytest.fixture(scope="module")
def explorer(tiny):
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = SanityExplorer(tiny, pictures, methods=NAMES, names=["one", "two", "three"])
    widget.precompute(pictures=[0, 1])
    return widget


@pytest.fixture
def page(open_page, explorer, tmp_path_factory):
    return open_page(explorer.save_html(tmp_path_factory.mktemp("page") / "sanity.html").as_uri())


def forget(page, depth):
    page.locator("input[aria-label^='Random layers']").fill(str(depth))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_slider_shows_the_map_of_the_forgetful_network(page, explorer, depth, name):
    forget(page, depth)
    explorer.depth = depth
    explorer.wait_idle()
    values = np.array(page.evaluate(VALUES, [depth, name])).reshape(32, 32)
    expected = explorer.maps[name].numpy()
    assert np.abs(values - expected).max() <= 1e-3 * np.abs(expected).max()
    drawn = np.array(page.evaluate(PIXELS, f"{name}-now"))
    before = np.array(page.evaluate(PIXELS, f"{name}-before"))
    assert (drawn != before).any()
    rank = explorer.likeness[name]["rank"][depth - 1]
    text = page.locator(f"[data-method='{name}'] .lk-rank").text_content()
    assert text == f"rank {rank:.2f}".replace("-", "\u2212")


def test_without_forgetting_both_maps_are_one(page):
    forget(page, 0)
    for name in NAMES:
        assert page.evaluate(PIXELS, f"{name}-now") == page.evaluate(PIXELS, f"{name}-before")
    assert "Drag the slider" in page.locator(".lk-answer").text_content()


def test_the_curve_and_the_slider_are_one(page, explorer):
    box = page.locator(".lk-curve").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 6, box["y"] + 30)
    assert page.locator("input[aria-label^='Random layers']").input_value() == "2"
    page.locator(".lk-curve").press("ArrowLeft")
    assert page.locator("input[aria-label^='Random layers']").input_value() == "1"
    assert f"down to {explorer.layers[0]}" in page.locator(".lk-slider-value").text_content()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("picture", [0, 1])
def test_hardly_noticed_is_what_both_numbers_beside_the_map_say(page, explorer, depth, picture):
    page.locator(".lk-thumb").nth(picture).click()
    forget(page, depth)
    kept = []
    for name in NAMES:
        row = page.locator(f"[data-method='{name}']")
        texts = [
            row.locator(where).text_content().replace("\u2212", "-") for where in (".lk-rank", ".lk-ssim")
        ]
        rank, ssim = (float(text.split()[1]) for text in texts)
        kept += [row.locator(".lk-caption b").text_content()] if min(rank, ssim) > 0.5 else []
    said = page.inner_text(".lk-answer")
    if kept:
        assert said == f"Hardly noticed, rank and SSIM both above 0.5: {' and '.join(kept)}."
    else:
        assert said == "Every map has noticed: rank or SSIM is at most 0.5."


@pytest.mark.parametrize(
    ("rank", "ssim", "noticed"), [(0.7, 0.32, True), (0.3, 0.9, True), (0.7, 0.6, False), (None, 0.9, True)]
)
def test_one_rule_says_which_map_has_noticed(page, rank, ssim, noticed):
    forget(page, 2)
    page.evaluate(
        """([rank, ssim]) => { const v = document.querySelector('#root').explorer;
        for (const map of Object.values(v.at(2).maps)) Object.assign(map, { rank, ssim });
        v.draw(); void 0 }""",
        [rank, ssim],
    )
    assert page.inner_text(".lk-answer").startswith("Every map has noticed" if noticed else "Hardly noticed")


def test_signs_may_count(page, explorer):
    forget(page, 1)
    page.click("text=Signs count")
    signed = explorer.likeness["gradient_x_input"]["rank_signed"][0]
    text = page.locator("[data-method='gradient_x_input'] .lk-rank").text_content()
    assert text == f"rank {signed:.2f}".replace("-", "\u2212")
