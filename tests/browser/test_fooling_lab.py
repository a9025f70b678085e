"""The explorers of attacks in JupyterLab: epsilon and a patch are dragged, the kernel's answer follows."""

import numpy as np
import pytest
import torch

from labkit.adversarial import Placing, fgsm
from labkit.adversarial.patches import paste

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EPSILON = """
from labkit.adversarial import Quantized
from labkit.widgets import EpsilonExplorer
w = EpsilonExplorer({"plain": net, "rounded": Quantized(net, 4)}, pictures, epsilons=[0.05, 0.2], steps=2)
w
"""
PATCH = """
from labkit.widgets import PatchExplorer
w = PatchExplorer(net, pictures, torch.linspace(0, 1, 300).view(3, 10, 10), 1, labels=[0, 0])
w
"""
VIEW = "document.querySelector('.lk').explorer"
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""


def test_epsilon_is_dragged_and_every_picture_is_counted(lab, open_page, world):
    net, pictures = world
    page = lab.open(open_page, [WORLD, EPSILON], ".lk-epsilon .lk-stage")
    page.wait_for_function(f"() => Boolean({VIEW}.find()) && Boolean({VIEW}.count('fgsm', 1))")
    page.locator("input[aria-label=Epsilon]").fill("1")
    shown = np.array(page.evaluate(PIXELS, "changed-0")).reshape(48, 48, 4)[..., :3]
    made = fgsm(net, pictures[:1], net(pictures[:1]).argmax(1), epsilon=0.05)
    assert np.abs(shown - made[0].permute(1, 2, 0).numpy() * 255).max() <= 1.01
    assert "At 0.050 FGSM fools plain in" in page.inner_text(".lk-answer")
    assert "Gradient is 0" in page.inner_text(".lk-etable")
    page.click("[data-way=pgd]")
    page.wait_for_function(f"() => {VIEW}.state.way === 'pgd' && Boolean({VIEW}.count('pgd', 1))")
    assert "PGD fools plain in" in page.inner_text(".lk-answer")


def test_a_patch_is_dragged_and_the_answer_is_that_of_its_place(lab, open_page, world):
    net, pictures = world
    page = lab.open(open_page, [WORLD, PATCH], ".lk-laying .lk-stage")
    page.wait_for_function(f"() => Boolean({VIEW}.find()) && {VIEW}.tallies.size === 4")
    scene = page.locator("[data-panel=picture] .lk-stage")
    scene.scroll_into_view_if_needed()
    box = scene.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.4, 0.35, 0.3):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
    page.mouse.up()
    there = f"() => String({VIEW}.find()?.axes.x) === String({VIEW}.state.place[0])"
    page.wait_for_function(f"() => {VIEW}.state.place[0] < 18")
    page.wait_for_function(there)
    x, y = page.evaluate(f"() => {VIEW}.state.place")
    side = page.evaluate(f"() => {VIEW}.state.side")
    numbers = (torch.tensor([float(v)]) for v in (x / 48, y / 48, side / 100, 0, 1))
    made = paste(pictures[:1], torch.linspace(0, 1, 300).view(3, 10, 10), Placing(*numbers))
    with torch.no_grad():
        chances = net(made).softmax(1)[0]
    found = page.evaluate(f"() => {VIEW}.said({VIEW}.find(), 0, 0)")
    assert [k for k, _ in found["classes"]] == chances.argsort(descending=True).tolist()
    assert found["aim"] == pytest.approx(float(chances[1]), abs=1e-4)
    page.click("[data-piece=grey]")
    page.wait_for_function(f"() => {VIEW}.find()?.piece === 'grey'")
