"""The exported page of the overlay explorer in a browser: hover, pin, keys, two networks, and its speed."""

import numpy as np
import pytest
import torch

from labkit.concepts import similarity_map
from labkit.concepts.overlay import place_at
from labkit.widgets import OverlayExplorer

pytestmark = pytest.mark.browser

VIEW = "document.querySelector('#root').explorer"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
MAP = f"(key) => Array.from({VIEW}.answers.get(key).map)"
HOVERS = f"""() => {{ const v = {VIEW}, spent = [];
  const flush = () => v.cells.forEach((c) => c.heat.getContext('2d').getImageData(0, 0, 1, 1));
  for (let i = 0; i < 80; i++) {{
    v.ghost = {{ picture: i % 4, x: (37 * i) % v.width, y: (61 * i) % v.height }};
    const began = performance.now(); v.point(); flush(); spent.push(performance.now() - began); }}
  return spent.slice(20) }}"""


@pytest.fixture
def saved(saved_page):
    return saved_page("overlay")


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def place(page, picture, x, y, network=0):
    """Where a pixel of a picture lies on the screen."""
    box = page.locator(f"[data-panel=overlay-{network}-{picture}] .lk-stage").bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / 64, box["y"] + (y + 0.5) * box["height"] / 64


def shown(page, picture, layer="5", network=0):
    side = {"5": 16, "9": 8}[layer]
    return np.array(page.evaluate(MAP, f"{picture}|{layer}|{network}")).reshape(side, side)


def test_the_page_s_cosines_are_the_library_s(page, saved):
    explorer = saved.explorer
    images = torch.stack(list(explorer.images[:2]))
    for picture, (x, y) in [(0, (3, 60)), (1, (40, 22))]:
        page.mouse.move(*place(page, picture, x, y))
        page.evaluate(FRAMES)
        at = place_at(x, y, (64, 64), (16, 16))
        expected = similarity_map(explorer.model, images, layer="5", picture=picture, place=at)
        for other in (0, 1):
            worst = np.abs(shown(page, other) - expected[other].numpy()).max()
            assert worst <= explorer.cosine_error + 1e-5


def test_a_click_pins_and_escape_lets_go(page):
    page.mouse.click(*place(page, 1, 20, 30))
    assert page.evaluate(f"() => [{VIEW}.state.picture, {VIEW}.state.place]") == [1, [20, 30]]
    page.mouse.move(3, 3)
    page.evaluate(FRAMES)
    assert page.locator("[data-panel=overlay-0-1] .lk-foot").inner_text() == "this place, pinned"
    before = shown(page, 0).tolist()
    page.mouse.move(*place(page, 0, 5, 5))
    page.evaluate(FRAMES)
    assert shown(page, 0).tolist() != before
    page.mouse.move(3, 3)
    page.evaluate(FRAMES)
    assert shown(page, 0).tolist() == before  # the pinned one comes back
    page.keyboard.press("Escape")
    assert page.evaluate(f"() => {VIEW}.state.place") == []
    page.evaluate(FRAMES)
    assert "Point at a place" in page.inner_text(".lk-answer")
    assert page.locator(".lk-heat:visible").count() == 0


def test_the_ring_lies_at_the_most_similar_place_and_the_answer_names_it(page):
    page.mouse.move(*place(page, 0, 32, 20))
    page.evaluate(FRAMES)
    found = shown(page, 1)
    row, column = np.unravel_index(found.argmax(), found.shape)
    style = page.locator("[data-panel=overlay-0-1] .lk-best").get_attribute("style")
    left, top = (float(part.split(":")[1].strip(" %")) for part in style.strip(";").split(";"))
    assert (left, top) == pytest.approx((100 * (column + 0.5) / 16, 100 * (row + 0.5) / 16), abs=0.01)
    assert f"green block, cosine {found.max():.3f}"[:25] in page.inner_text(".lk-answer")


def test_keys_move_by_a_place_pin_and_change_the_layer(page):
    stage = page.locator("[data-panel=overlay-0-1] .lk-stage")
    stage.focus()
    at = f"() => [{VIEW}.at.picture, {VIEW}.at.x, {VIEW}.at.y]"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(at) == [1, 32, 32]
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate(at) == [1, 22, 30]  # the middles of places of four pixels
    page.keyboard.press("Enter")
    assert page.evaluate(f"() => [{VIEW}.state.picture, {VIEW}.state.place]") == [1, [22, 30]]
    page.keyboard.press("l")
    assert page.evaluate(f"() => {VIEW}.state.layer") == "9"
    assert shown(page, 0, "9").shape == (8, 8)
    page.keyboard.press("L")
    assert page.evaluate(f"() => {VIEW}.state.layer") == "5"


def test_two_networks_stand_side_by_side_each_with_its_own_cosines(page, saved):
    page.keyboard.press("b")
    assert page.locator(".lk-main .lk-stage:visible").count() == 4
    page.mouse.move(*place(page, 0, 30, 30, network=1))
    page.evaluate(FRAMES)
    images = torch.stack(list(saved.explorer.images[:2]))
    other = saved.explorer._networks[1]
    expected = similarity_map(other, images, layer="5", picture=0, place=(7, 7))
    assert np.abs(shown(page, 1, network=1) - expected[1].numpy()).max() < 0.02
    assert np.abs(shown(page, 1, network=0) - expected[1].numpy()).max() > 0.02
    page.keyboard.press("b")
    assert page.locator(".lk-main .lk-stage:visible").count() == 2


def level(page, network):
    """The mean best cosine, and the mean cosine, of 24 places with those of the other picture."""
    rows = []
    for picture in (0, 1):
        answer = page.evaluate(
            f"""(key) => {{ const one = {VIEW}.answers.get(key);
            return [Array.from({VIEW}.rows(one)), one.count] }}""",
            f"{picture}|5|{network}",
        )
        rows.append(np.array(answer[0]).reshape(-1, answer[1]))
    every = [rows[k % 2][(7919 * k + 101) % len(rows[0])] @ rows[1 - k % 2].T for k in range(24)]
    return np.mean([one.max() for one in every]), np.mean(every)


def test_the_best_match_has_a_level_of_chance_beside_it(page):
    page.mouse.move(*place(page, 0, 32, 20))
    page.evaluate(FRAMES)
    best, _ = level(page, 0)
    said = page.inner_text(".lk-answer")
    assert float(said.split("a random place's best is ")[1].rstrip(".")) == pytest.approx(best, abs=0.006)
    assert "any two places" not in said


@pytest.mark.parametrize("alike", [False, True])
def test_a_second_network_on_view_says_what_any_two_places_have(page, alike):
    page.mouse.move(*place(page, 0, 32, 20))
    if alike:  # all features one and the same
        page.evaluate(
            f"""() => {{ for (const p of [0, 1]) {{ const one = {VIEW}.answers.get(`${{p}}|5|1`);
            {VIEW}.rows(one).fill(1 / Math.sqrt(one.count)) }} }}"""
        )
    page.keyboard.press("b")
    page.evaluate(FRAMES)
    said, (_, mean) = page.inner_text(".lk-answer"), level(page, 1)
    assert float(said.split(" between any two places")[0].split()[-1]) == pytest.approx(mean, abs=0.006)
    assert said.endswith(": it sees everything alike, and tells nothing.") is bool(mean >= 0.9)
    assert not alike or mean >= 0.9


def test_a_finger_is_a_pointer(open_page, saved):
    page = open_page(saved.address, width=1280, height=720)
    x, y = place(page, 1, 10, 50)
    page.dispatch_event(
        "[data-panel=overlay-0-1] .lk-stage",
        "pointerdown",
        {"clientX": x, "clientY": y, "pointerType": "touch"},
    )
    page.evaluate(FRAMES)
    assert page.evaluate(f"() => [{VIEW}.at.picture, {VIEW}.at.x, {VIEW}.at.y]") == [1, 10, 50]


class Wide(torch.nn.Module):
    """128 channels on 28 x 28 places."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.head = (
            torch.nn.Conv2d(3, 128, 8, 8),
            torch.nn.ReLU(),
            torch.nn.Linear(128, 4),
        )

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def test_a_hover_takes_at_most_five_milliseconds(open_page, tmp_path):
    """Four pictures of 28 x 28 x 128: cosines, colours and words, the canvases drawn."""
    explorer = OverlayExplorer(Wide().eval(), torch.rand(4, 3, 224, 224), layers=["act"])
    explorer.precompute()
    path = explorer.save_html(tmp_path / "wide.html")
    assert path.stat().st_size < 5e6
    page = open_page(path.as_uri(), width=1280, height=720)
    assert np.median(page.evaluate(HOVERS)) <= 5
