"""The mask, sanity and activation explorer in JupyterLab: a slider moves, the library's answer is shown."""

import numpy as np
import pytest

from labkit.attribution import extremal_perturbation_result, saliency
from labkit.evaluation import randomized
from labkit.optimize import masked
from labkit.visualization import activation_grid, top_patches_result

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MASKS = """
from labkit.widgets import MaskExplorer
w = MaskExplorer(net, pictures, areas=(0.1, 0.3, 0.6), steps=12)
w
"""
SANITY = """
from labkit.widgets import SanityExplorer
w = SanityExplorer(net, pictures, methods=["saliency"])
w
"""
EXPLORER = "document.querySelector('.lk').explorer"
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
VALUES = f"(depth) => Array.from({EXPLORER}.at(depth).maps.saliency.values)"


def shown(world, mode, stop):
    """What the network is shown, as the library makes it."""
    net, pictures = world
    target = int(net(pictures[:1]).argmax())
    found = extremal_perturbation_result(net, pictures[:1], target, area=[0.1, 0.3, 0.6], mode=mode, steps=12)
    left = found.masks[0] if mode == "preserve" else 1 - found.masks[0]
    return masked(pictures[:1].expand(3, -1, -1, -1), left)[stop].detach().permute(1, 2, 0).numpy() * 255


def test_the_area_is_dragged_and_the_mode_changes(lab, open_page, world):
    page = lab.open(open_page, [WORLD, MASKS], ".lk-masks .lk-stage")
    page.wait_for_function(f"() => Boolean({EXPLORER}.answer)")
    for mode in ("preserve", "delete"):
        page.click(f"[data-mode={mode}]")
        page.wait_for_function(f"() => {EXPLORER}.state.mode === '{mode}' && Boolean({EXPLORER}.answer)")
        for stop in (2, 0):
            page.locator("input[aria-label=Area]").fill(str(stop))
            drawn = np.array(page.evaluate(PIXELS, "left")).reshape(48, 48, 4)[..., :3]
            assert np.abs(drawn - shown(world, mode, stop)).max() <= 1


def test_the_network_forgets_as_the_slider_says(lab, open_page, world):
    net, pictures = world
    page = lab.open(open_page, [WORLD, SANITY], ".lk-sanity .lk-stage")
    layers = page.evaluate(f"() => {EXPLORER}.layers")
    page.wait_for_function(f"() => {EXPLORER}.layers.every((_, i) => {EXPLORER}.at(i + 1))")
    target = int(net(pictures[:1]).argmax())
    for depth in range(len(layers) + 1):
        page.locator("input[aria-label^='Random layers']").fill(str(depth))
        twin = randomized(net, layers[:depth], pictures) if depth else net
        expected = saliency(twin, pictures[:1], target)[0].numpy()
        got = np.array(page.evaluate(VALUES, depth)).reshape(48, 48)
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    assert page.locator(".lk-chip").text_content() == "ready"


EMBEDDING = """
from labkit.widgets import EmbeddingExplorer
many = torch.rand(30, 3, 48, 48, generator=generator)
w = EmbeddingExplorer(net, many, picture=1, steps=2_000_000, perplexities=[4, 8], perplexity=8)
w
"""
ACTIVATION = """
from labkit.widgets import ActivationExplorer
w = ActivationExplorer(net, pictures, synthesize=False)
w
"""


def test_the_embedding_is_seen_running_and_stops(lab, open_page, world):
    page = lab.open(open_page, [WORLD, EMBEDDING], ".lk-embedding .lk-stage")
    page.wait_for_function(f"() => Boolean({EXPLORER}.points)")
    page.locator(".lk-thumb >> nth=0").click()
    step = f"({EXPLORER}.find()?.step ?? 0)"
    page.wait_for_function(f"() => {step} > 10")
    first = page.evaluate(f"() => {step}")
    page.wait_for_function(f"(first) => {step} > first", arg=first)
    page.click("text=Stop")
    page.wait_for_function("() => document.querySelector('.lk-chip').textContent === 'stopped'")
    stopped = page.evaluate(f"() => {step}")
    assert stopped < 2_000_000
    page.click("text=Go on")
    page.wait_for_function(f"(stopped) => {step} > stopped", arg=stopped)
    page.click("text=Stop")


def test_a_channel_is_chosen_and_its_patches_come(lab, open_page, world):
    net, pictures = world
    page = lab.open(open_page, [WORLD, ACTIVATION], ".lk-activation .lk-stage")
    page.wait_for_function(f"() => Boolean({EXPLORER}.find())")
    layer, channels = page.evaluate(f"() => [{EXPLORER}.state.layer, {EXPLORER}.entry.channels]")
    found = top_patches_result(net, pictures, layer)
    grid = activation_grid(net, pictures[:1], layer)[0]
    for channel in (channels - 1, 0):
        page.locator("input[aria-label^=Channel]").fill(str(channel))
        page.wait_for_function(f"() => {EXPLORER}.state.channel === {channel} && {EXPLORER}.of('patches')")
        shown = page.evaluate(f"() => {EXPLORER}.of('patches').pictures")
        assert shown == found.pictures[channel].tolist()
    values = np.array(page.evaluate(f"() => Array.from({EXPLORER}.of('grid').values)"))
    entry = page.evaluate(f"() => {EXPLORER}.entry")
    assert values.size == channels * entry["height"] * entry["width"]
    assert abs(values.max() - float(grid.max())) < 1e-4 * float(grid.max())
    page.locator("[data-panel=picture] .lk-stage").hover()
    foot = "document.querySelector('[data-panel=vector] .lk-foot').textContent"
    page.wait_for_function(f"() => /^(loudest|all silent)/.test({foot})")
