"""The explorers of concepts in JupyterLab: overlays follow the pointer, units and concepts are chosen."""

import pytest
import torch

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VIEW = "document.querySelector('.lk').explorer"
OVERLAY = """
from labkit.widgets import OverlayExplorer
w = OverlayExplorer(net, pictures, layers=["1"])
w
"""
TCAV = """
from labkit.widgets import TcavExplorer
scenes = pictures[:1] * torch.rand(8, 3, 1, 1, generator=generator)
concepts = {name: torch.rand(4, 3, 48, 48, generator=generator) for name in ("one", "two")}
w = TcavExplorer(net, scenes, [0, 1] * 4, concepts=concepts, layers=["0"], random_concepts=10, draws=2,
                 others=torch.rand(20, 3, 48, 48, generator=generator))
w
"""
DISSECTION = """
from labkit.widgets import DissectionExplorer
shown = pictures.repeat(3, 1, 1, 1) * torch.rand(6, 3, 1, 1, generator=generator)
maps = {"object": (shown.amax(1) > 0.3).numpy().astype("uint8")}
w = DissectionExplorer(net, shown, layers=["0", "1"], count=4, maps=maps, names={"object": ("light",)})
w
"""


def test_an_overlay_follows_the_pointer(lab, open_page, world):
    net, pictures = world
    page = lab.open(open_page, [WORLD, OVERLAY], ".lk-overlay .lk-stage")
    page.wait_for_function(f"() => {VIEW}.cells.length === 2 && Boolean({VIEW}.find())")
    page.evaluate(f"() => {{ {VIEW}.hover(0, 24, 20); void 0 }}")
    page.wait_for_function(f"() => {VIEW}.cells[1].top !== undefined && {VIEW}.ghost.y === 20")
    with torch.no_grad():
        rows = torch.relu(net[0](pictures)).flatten(2).transpose(1, 2)
    rows = torch.nn.functional.normalize(rows, dim=2)
    place = (20 * 22 // 48) * 22 + 24 * 22 // 48
    assert page.evaluate(f"() => {VIEW}.cells[1].top") == pytest.approx(
        float((rows[1] @ rows[0, place]).max()), abs=0.02
    )


def test_concepts_are_tested_and_chosen(lab, open_page):
    page = lab.open(open_page, [WORLD, TCAV], ".lk-tcav .lk-stage")
    page.wait_for_function(f"() => {VIEW}.model.get('status') === 'ready' && Boolean({VIEW}.find())")
    page.locator(".lk-crows .lk-crow").nth(1).click()
    page.wait_for_function(f"() => {VIEW}.state.picture === 1 && Boolean({VIEW}.find())")
    assert "Significant among random concepts" in page.inner_text(".lk-answer")


def test_units_are_dissected_at_another_layer(lab, open_page):
    page = lab.open(open_page, [WORLD, DISSECTION], ".lk-dissection .lk-stage")
    page.wait_for_function(f"() => Boolean({VIEW}.find())")
    page.locator(".lk-thumb").nth(1).click()
    page.wait_for_function(f"() => {VIEW}.state.picture === 1 && Boolean({VIEW}.find())")
    assert page.locator(".lk-error:visible").count() == 0
