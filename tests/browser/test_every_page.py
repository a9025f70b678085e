"""What every explorer's page obeys: it fills a screen, its type can be read, it offers what it knows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from .pages import EXPLORERS

pytestmark = pytest.mark.browser

SCREENS = [(1280, 720), (1920, 1080)]
THEMES = ["light", "dark", "projector-light", "projector-dark"]
STATE = "() => JSON.stringify(document.querySelector('#root').explorer.state)"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
VIEW = "document.querySelector('#root').explorer"
# texts as they are seen: the smallest box around each, and the size of its type in pixels
TEXTS = """() => { const found = [];
  const walk = document.createTreeWalker(document.querySelector('.lk'), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, parent = node.parentElement, style = getComputedStyle(parent);
    if (!node.textContent.trim() || !parent.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange(); range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width < 2) continue;
    found.push({ text: node.textContent.trim(), size: parseFloat(style.fontSize),
      box: [box.left, box.top, box.right, box.bottom] });
  }
  return found }"""
SCROLL = "() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
AREA = """() => [...document.querySelectorAll('.lk-stage, .lk-curve, .lk-sum')]
  .map((n) => n.getBoundingClientRect()).reduce((sum, b) => sum + b.width * b.height, 0)"""
# elements whose content is wider than they are
CUT = """() => [...document.querySelectorAll('.lk *')]
  .filter((n) => !n.closest('dialog, svg') && n.checkVisibility())
  .filter((n) => n.scrollWidth > n.clientWidth + 1 && n.clientWidth)
  .filter((n) => getComputedStyle(n).display !== 'inline'
    && !n.matches('.lk-hidden, .lk-strip, .lk-slider-track, .lk-slider input, .lk-legend-bar'))
  .map((n) => `${n.className}: ${n.textContent}`)"""


@pytest.fixture(params=list(EXPLORERS))
def saved(request, saved_page):
    return saved_page(request.param)


# A data set is one question: its pictures come from Python, as a folder, and none is added by hand.
@pytest.fixture(params=[name for name in EXPLORERS if name not in ("embedding", "dissection")])
def saved_with_upload(request, saved_page):
    return saved_page(request.param)


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def settle(page, condition):
    page.wait_for_function(f"() => {condition}")


def resize(page, width, height):
    """Another window; the page has heard of it after two frames."""
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(FRAMES)


def as_live(saved, folder):
    """The page with a kernel that never answers: what it does not know, it asks for in vain."""
    path = folder / "live.html"
    path.write_text(saved.html.replace('"live": false', '"live": true'), "utf-8")
    return path.as_uri()


# ---- a heading, and the answer to it


def test_one_question_stands_over_the_page_and_its_answer_below(page, open_page, saved):
    for own in (page, open_page(saved.titled)):
        assert own.locator("h1").count() == 1
        assert own.locator("h1, h2, h3, [role=heading]").count() == 1
        assert own.inner_text("main h1").endswith("?")
        assert len(own.inner_text(".lk-answer")) > 20
    assert own.inner_text("h1") == own.title() == "Where does a network look?"


# ---- a projector


def test_a_projector_is_filled_and_read_from_the_last_row(open_page, saved):
    page = open_page(f"{saved.titled}#theme=projector")
    for width, height in SCREENS:
        resize(page, width, height)
        assert page.evaluate(SCROLL) == [width, height]
        assert page.locator(".lk").bounding_box() == {"x": 0, "y": 0, "width": width, "height": height}
        texts = page.evaluate(TEXTS)
        assert [t["text"] for t in texts if t["size"] < 0.03 * height - 0.01] == []
        assert [t for t in texts if min(t["box"]) < 0 or t["box"][2] > width or t["box"][3] > height] == []
        assert page.evaluate(CUT) == []
        assert page.evaluate(AREA) > 0.15 * width * height


def test_nothing_overlaps_on_a_projector(open_page, saved):
    page = open_page(f"{saved.titled}#theme=projector", width=1280, height=720)
    boxes = page.evaluate(TEXTS)
    for i, one in enumerate(boxes):
        for two in boxes[i + 1 :]:
            a, b = one["box"], two["box"]
            wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            assert wide < 2 or high < 0.3 * one["size"], (one["text"], two["text"])


def test_the_keys_of_every_page(page, saved):
    theme = f"{VIEW}.model.get('theme')"
    page.keyboard.press("p")
    assert page.evaluate(theme) == "projector"
    page.keyboard.press("p")
    assert page.evaluate(theme) == "auto"
    page.keyboard.press("d")
    assert page.evaluate(theme) == "dark"
    page.keyboard.press("d")
    assert page.evaluate(theme) == "light"
    page.keyboard.press("f")
    settle(page, "document.fullscreenElement?.classList.contains('lk')")
    page.keyboard.press("f")
    settle(page, "!document.fullscreenElement")
    for picture in (1, 0):  # the third was not computed
        page.keyboard.press("n")
        assert page.evaluate(f"{VIEW}.state.picture") == picture
    page.keyboard.press("?")
    keys = page.locator("dialog dt").all_inner_texts()
    assert keys[-5:] == ["p", "f", "n", "d", "?"]
    page.keyboard.press("p")  # not behind an open dialog
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()
    assert page.evaluate(theme) == "light"


@pytest.mark.parametrize(("scheme", "hash"), [("dark", ""), ("light", "#theme=dark")])
def test_dark_stays_dark(open_page, saved, scheme, hash):
    page = open_page(saved.address + hash, scheme=scheme)
    levels = """() => [document.body, document.querySelector('.lk')]
      .map((n) => getComputedStyle(n).backgroundColor.match(/[\\d.]+/g).slice(0, 3))
      .map((rgb) => rgb.reduce((sum, v) => sum + Number(v), 0))"""
    for _ in range(2):
        assert all(level < 200 for level in page.evaluate(levels))
        page.keyboard.press("p")


# ---- the address


def test_picture_setting_and_theme_are_in_the_address_and_come_back(page, open_page, saved):
    assert "#" not in page.url
    page.keyboard.press("n")
    page.keyboard.press("d")
    slider = page.locator(".lk-slider input:visible").first
    if slider.count():
        slider.press("ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight")
    else:
        page.locator(".lk-tick").first.click()
    settle(page, "location.hash.includes('picture=1') && location.hash.split('&').length > 2")
    again = open_page(page.url)
    assert again.evaluate(STATE) == page.evaluate(STATE)
    assert again.evaluate(f"{VIEW}.model.get('theme')") == "dark"
    pixels = "() => [...document.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()"
    assert again.evaluate(pixels) == page.evaluate(pixels)
    again.evaluate("() => { location.hash = '' }")
    settle(again, f"{VIEW}.state.picture === 0 && {VIEW}.model.get('theme') === 'auto'")


def test_an_address_that_leads_nowhere_is_left_alone(page):
    plain = page.evaluate(STATE)
    for said in ("picture=2", "picture=9", "picture=one", "target=99", "theme=neon", "x=1&&=", "stop=-1"):
        page.evaluate("(said) => { location.hash = said; void 0 }", said)
        page.evaluate(FRAMES)
        assert page.evaluate(STATE) == plain, said
        assert page.evaluate(f"{VIEW}.model.get('theme')") == "auto"


# ---- what is offered, and what is shown


def test_all_that_is_offered_was_saved(page):
    assert page.locator("button:disabled, input:disabled").count() == 0
    assert page.locator(".lk-thumb:visible").count() == 2
    assert page.locator(".lk-own, .lk-chip:visible, .lk-cancel").count() == 0
    waits = "[...document.querySelectorAll('.lk-wait')].some((n) => n.textContent)"
    known = f"() => Boolean({VIEW}.find()) && !{waits}"
    offered = "button:visible:not(.lk-play, .lk-help, .lk-project)"
    for i in range(page.locator(offered).count()):
        if i >= page.locator(offered).count():  # a choice may leave fewer others
            break
        page.locator(offered).nth(i).click()
        assert page.evaluate(known), i
    for i in range(page.locator(".lk-slider input:visible").count()):
        slider = page.locator(".lk-slider input:visible").nth(i)
        slider.press("Home")
        for _ in range(int(slider.get_attribute("max")) + 1):
            assert page.evaluate(known), i
            slider.press("ArrowRight")


NUMBERS = """(where) => [...document.querySelectorAll(where)]
  .filter((n) => !n.children.length && !n.closest('svg') && n.checkVisibility({ visibilityProperty: true }))
  .map((n) => n.textContent).filter((t) => /\\d/.test(t))"""


def test_no_number_of_another_setting_is_shown(open_page, saved, tmp_path):
    page = open_page(as_live(saved, tmp_path))
    everywhere = ".lk-stagerow *, .lk-answer, .lk-choose *"
    assert page.evaluate(NUMBERS, everywhere)
    page.evaluate(f"() => {{ {VIEW}.show(2); void 0 }}")  # neither the picture nor its answer is there
    assert page.evaluate(NUMBERS, everywhere) == []
    page.evaluate(f"() => {{ {VIEW}.show(0); {VIEW}.set({{ target: 7 }}); void 0 }}")  # the picture is
    known = page.evaluate(f"() => Boolean({VIEW}.find())")
    # an occlusion's drops are of all classes; activations, features and what is made of them are of none;
    # FGSM leads to no class, and a patch to its own
    of_all = (
        "OcclusionExplorer", "ActivationExplorer", "OverlayExplorer", "DreamExplorer", "EpsilonExplorer",
        "PatchExplorer", "StyleExplorer",
    )  # fmt: skip
    assert known == (type(saved.explorer).__name__ in of_all)
    answers = ".lk-main figure:not([data-panel=picture]) *, .lk-pair *, .lk-answer"
    assert known or page.evaluate(NUMBERS, answers) == []


# ---- photographs of one's own


@pytest.fixture
def live(open_page, saved_with_upload, tmp_path):
    page = open_page(as_live(saved_with_upload, tmp_path))
    page.evaluate(f"() => {{ {VIEW}.model.set('status', 'computing'); void 0 }}")
    return page


def computes(page, share):
    """The kernel says that it goes on, as it does many times a second."""
    page.evaluate(f"(p) => {{ {VIEW}.model.set('progress', p); void 0 }}", share)
    page.evaluate(FRAMES)


def test_a_broken_upload_is_answered_whatever_is_computing(live):
    bad = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0 no picture"}
    live.locator(".lk-own input[type=file]").set_input_files(bad)
    error = live.locator(".lk > .lk-error")
    error.wait_for()
    for share in (0.2, 0.5, 0.9):
        computes(live, share)
        assert error.is_visible()
        assert "broken.jpg cannot be read as a picture" in error.inner_text()
    live.evaluate(f"() => {{ {VIEW}.model.set('refused', 'there is no picture at x.png'); void 0 }}")
    computes(live, 0.95)
    assert "x.png" in error.inner_text()
    live.locator(".lk-thumb:visible").nth(1).click()  # the hand's next act
    assert error.is_hidden()


@pytest.mark.parametrize(("size", "cropped"), [((90, 40), True), ((50, 50), False)])
def test_the_page_says_whether_it_has_cut_a_photograph(live, tmp_path, size, cropped):
    from PIL import Image

    Image.new("RGB", size, "grey").save(tmp_path / "wall.png")
    live.locator(".lk-own input[type=file]").set_input_files(tmp_path / "wall.png")
    settle(live, f"{VIEW}.model.get('upload')?.name === 'wall'")
    assert live.evaluate(f"() => {VIEW}.model.get('upload').cropped") is cropped


def test_what_is_to_be_known_of_a_photograph_stands_below_the_answer(open_page, saved_with_upload, tmp_path):
    from labkit.models import load_model
    from labkit.widgets.kit.photographs import what_to_know

    note = what_to_know(load_model("minivgg-random"), cropped=True)
    path = tmp_path / "noted.html"
    path.write_text(saved_with_upload.html.replace('"note": ""', f'"note": "{note}"', 1), "utf-8")
    page = open_page(path.as_uri())
    for theme in THEMES:
        page.evaluate("(said) => { location.hash = said; void 0 }", f"theme={theme}")
        for width, height in [*SCREENS, (600, 800)]:
            resize(page, width, height)
            assert page.inner_text(".lk-note") == note
            above, below = (page.locator(where).bounding_box() for where in (".lk-answer", ".lk-note"))
            assert 0 <= below["y"] - above["y"] - above["height"] < 20
            assert page.evaluate(SCROLL)[0] == width
            assert page.evaluate(CUT) == []
            assert width == 600 or page.evaluate(SCROLL)[1] == height
    page.keyboard.press("n")  # the other pictures are no photographs
    assert page.locator(".lk-note").is_hidden()


# ---- for every eye, hand and reader


NAMES = """() => { const wrong = [], brief = (n) => n.outerHTML.slice(0, 90);
  const states = { radio: 'aria-checked', slider: 'aria-valuenow', combobox: 'aria-expanded' };
  for (const n of document.querySelectorAll('button, input, [tabindex], [role]')) {
    if (!n.checkVisibility() || n.matches('.lk-hidden')) continue;
    const name = n.getAttribute('aria-label') || n.textContent.trim(), role = n.getAttribute('role');
    const box = n.getBoundingClientRect();
    if (!name && !['status', 'alert'].includes(role)) wrong.push(`no name: ${brief(n)}`);
    if (n.matches('button, input') && Math.min(box.width, box.height) < 24) wrong.push(`small: ${brief(n)}`);
    if (role in states && !n.hasAttribute(states[role])) wrong.push(`${role} without ${states[role]}`);
    if (role === 'radio' && n.hasAttribute('aria-pressed')) wrong.push('a radio is checked, not pressed');
  }
  for (const group of document.querySelectorAll('[role=radiogroup]')) {
    const shown = [...group.querySelectorAll('[role=radio]')].filter((n) => n.checkVisibility());
    const entries = shown.filter((n) => n.tabIndex === 0).length;
    if (shown.length && entries !== 1) wrong.push(`Tab enters a radio group ${entries} times`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((n) => n.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id twice');
  if (document.documentElement.lang !== 'en' || !document.querySelector('main h1')) wrong.push('no language');
  return wrong }"""
# texts whose contrast to the nearest opaque background is below 4.5
WEAK = """() => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data]; };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (n) => { const colour = n ? rgba(getComputedStyle(n).backgroundColor) : [255, 255, 255, 255];
    return colour[3] > 250 ? colour : behind(n.parentElement); };
  const found = [];
  for (const n of document.querySelectorAll('.lk *')) {
    const own = [...n.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    if (!own || !n.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(n), front = rgba(n.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(n))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push([n.textContent, (a + 0.05) / (b + 0.05)]);
  }
  return found }"""


def test_every_control_has_a_name_a_role_and_room_for_a_finger(page):
    assert page.evaluate(NAMES) == []
    shielded = """() => [...document.querySelectorAll('button, input, [tabindex], dialog, .lk')]
      .every((n) => n.getAttribute('data-lm-suppress-shortcuts') === 'true')"""
    assert page.evaluate(shielded)


def test_texts_stand_out_from_what_is_behind_them(page):
    for theme in THEMES:
        page.evaluate("(said) => { location.hash = said; void 0 }", f"theme={theme}")
        settle(page, f"document.querySelector('.lk').dataset.theme === '{theme}'")
        page.evaluate("() => Promise.all(document.getAnimations().map((a) => a.finished)).then(() => 0)")
        assert page.evaluate(WEAK) == []


def axe():
    """The script of axe-core where npm has installed it, or None."""
    places = [
        os.environ.get("LABKIT_AXE", ""),
        *(str(p / "node_modules/axe-core/axe.min.js") for p in [Path.cwd(), *Path.cwd().parents]),
    ]
    return next((Path(p) for p in places if p and Path(p).is_file()), None)


@pytest.mark.parametrize("theme", ["light", "projector-dark"])
def test_axe_finds_nothing_critical_or_serious(open_page, saved, theme):
    if axe() is None:
        pytest.skip("axe-core is not installed; `npm install axe-core`, or LABKIT_AXE=path/to/axe.min.js")
    page = open_page(f"{saved.address}#theme={theme}", width=1280, height=720)
    page.add_script_tag(path=axe())
    found = page.evaluate(
        """async () => (await axe.run()).violations
        .map((v) => [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 120))])"""
    )
    assert [v for v in found if v[0] in ("critical", "serious", "moderate")] == []


def test_lines_are_told_apart_by_their_marks(page):
    """The first mark of each line, moved to its own centre and size, has another outline."""
    outlines = """(where) => [...document.querySelectorAll(where)].map((n) => {
      const first = n.getAttribute('d').match(/^M[^M]*/)[0];
      if (first.includes('a')) return 'round';
      const points = first.match(/-?[\\d.]+ -?[\\d.]+/g).map((p) => p.split(' ').map(Number));
      const [xs, ys] = [0, 1].map((k) => points.map((p) => p[k]));
      const size = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
      return points.map(([x, y]) => [x - xs[0], y - ys[0]].map((v) => (v / size).toFixed(1))).join(' ');
    })"""
    lines, keys = (page.evaluate(outlines, where) for where in (".lk-curve .mark", ".lk-key .mark"))
    assert len(set(lines)) == len(lines) == page.locator(".lk-curve .line").count()
    assert len(set(keys)) == len(keys)


def test_a_map_says_where_its_peak_lies_and_what_share_is_inside(page, saved):
    from labkit.evaluation import energy_inside, peaks

    explorer, name = saved.explorer, type(saved.explorer).__name__
    if name in ("EmbeddingExplorer", "TcavExplorer", "DissectionExplorer"):  # a plane and bars are no maps
        return
    explorer.picture = 0
    explorer.wait_idle()
    if name == "EpsilonExplorer":  # which shows pictures, and says what a network says of them
        label = page.locator("[data-kind=changed-0]").get_attribute("aria-label")
        answer = explorer._cache.get(explorer._key())
        said = explorer.classes[answer["named"][explorer.stop]]
        assert f"FGSM at {explorer.epsilons[explorer.stop]:.3f}: plain says {said} " in label
        return
    if name == "PatchExplorer":  # which says where the patch lies, and what the networks say of it
        label = page.locator("[data-kind=picture]").get_attribute("aria-label")
        first, second = (next(iter(said.items())) for said in explorer.said.values())
        x, y = explorer.place
        assert f"The patch at x {x}, y {y}, turned by 0 degrees, 50 per cent" in label
        assert f"network says {first[0]} {100 * first[1]:.0f}%, judge {second[0]} " in label
        return
    if name == "AscentExplorer":  # which shows a picture, and says how much it excites
        label, answer = page.locator("[data-kind=made]").get_attribute("aria-label"), explorer.answer
        said = re.search(r"after (\d+) steps: activation (\S+)$", label)
        assert int(said[1]) == answer["at"][-1]
        assert float(said[2].replace("\u2212", "-")) == pytest.approx(answer["scores"][-1], rel=0.02)
        return
    if name == "DreamExplorer":  # which shows a picture, too, beside what it is to be held against
        label, lines = page.locator("[data-kind=made]").get_attribute("aria-label"), explorer.answer["lines"]
        said = re.search(r": (\S+) times the picture's own; noise of equal size (\S+)$", label)
        for k in (0, 1):
            assert float(said[k + 1]) == pytest.approx(lines[k][-1] / lines[0][0], rel=0.02)
        return
    if name == "StyleExplorer":
        label, lines = page.locator("[data-kind=made]").get_attribute("aria-label"), explorer.answer["lines"]
        said = re.search(r"correlation with the picture (\S+); with others (\S+)$", label)
        for k in (3, 4):
            assert float(said[k - 2].replace("\u2212", "-")) == pytest.approx(lines[k][-1], abs=0.006)
        return
    if name == "OverlayExplorer":  # two pictures, of which the first is asked about; see its own tests
        label = page.locator("[data-kind=heat-0-1]").get_attribute("aria-label")
        explorer.precompute()
        found = explorer.similarity[1]
        said = re.search(r"largest at row (\d+), column (\d+) of 16 by 16, (\S+)$", label)
        assert float(found[int(said[1]), int(said[2])]) == pytest.approx(float(found.max()), abs=1e-6)
        assert float(said[3]) == pytest.approx(float(found.max()), abs=0.006)
        return
    if name == "OcclusionExplorer":
        maps = {"map": explorer.method(explorer.model, explorer.image, **explorer.settings)}
    elif name == "ActivationExplorer":
        small = explorer.grid[explorer.channel]
        rows, columns = (
            [min(range(len(m)), key=lambda k: abs(m[k] - at - 0.5)) for at in range(64)]
            for m in (explorer._entry(explorer.layer)[axis] for axis in ("rows", "columns"))
        )
        maps = {"map": small[rows][:, columns][None]}
    elif name == "MaskExplorer":
        label = page.locator("[data-kind=mask]").get_attribute("aria-label")
        assert f"IoU with the truth {explorer.answer['iou'][explorer.stop]:.2f}" in label
        return
    else:
        kind = "map-{}" if name == "Comparer" else "{}-now"
        maps = {kind.format(n): m[None] for n, m in explorer.maps.items()}
    truth = explorer._mask(0)[None]
    for kind, found in maps.items():
        label = page.locator(f"[data-kind='{kind}']").get_attribute("aria-label")
        y, x = peaks(found)[0].tolist()
        share = float(energy_inside(found, truth)[0])
        said = re.search(r"largest at x (\d+), y (\d+), (inside|outside) the truth; ([\d.]+)% of its", label)
        assert said, label
        if name == "Comparer":  # the others' maps may have several equal peaks in float16
            assert (int(said[1]), int(said[2])) == (x, y)
        assert float(said[4]) == pytest.approx(100 * share, abs=0.6)
        at = bool(truth[0, int(said[2]), int(said[1])])
        assert said[3] == ("inside" if at else "outside")


def test_nothing_is_cut(page):
    for width, height in [*SCREENS, (600, 800)]:
        resize(page, width, height)
        assert page.evaluate(SCROLL)[0] == width
        assert page.evaluate(CUT) == []
        assert width == 600 or page.evaluate(SCROLL)[1] == height


# ---- the hand


def drags(page):
    """What can be dragged: left end, right end and height in pixels of the screen."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.lk-curve, .lk-slider input, .lk-pointed')]
        .filter((n) => n.checkVisibility()).slice(-5).map((n) => { const b = n.getBoundingClientRect();
          return [b.left + 8, b.right - 8, b.top + b.height / 2]; })"""
    )


def test_a_drag_answers_within_a_tenth_of_a_second_on_a_slow_processor(page):
    """The work of the page's thread for a step, by its own clock, times four: others do not count."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def work():
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    for left, right, y in drags(page):
        spent = []
        page.mouse.move(left, y)
        page.mouse.down()
        for step in range(16):
            before = work()
            page.mouse.move(left + (right - left) * (step + 1) / 16, y)
            page.evaluate(FRAMES)
            spent.append(1000 * (work() - before))
        page.mouse.up()
        assert 4 * float(np.percentile(spent, 95)) <= 100, (left, y, spent)


def test_the_height_stays_and_the_pictures_too_while_the_hand_moves(page):
    boxes = """() => JSON.stringify([...document.querySelectorAll('.lk, .lk-stage')]
      .map((n) => n.getBoundingClientRect()))"""
    before = page.evaluate(boxes)
    for left, right, y in drags(page):
        page.mouse.move(left, y)
        page.mouse.down()
        for step in range(6):
            page.mouse.move(left + (right - left) * step / 5, y)
            assert page.evaluate(boxes) == before
        page.mouse.up()


def test_an_error_of_the_page_s_own_code_is_shown(saved, browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(saved.address)
    page.wait_for_selector(".lk-stage")
    page.evaluate(f"() => {{ {VIEW}.next = () => {{ throw new Error('by hand') }}; void 0 }}")
    page.keyboard.press("n")
    assert "by hand" in page.inner_text(".lk-fault")
    context.close()
