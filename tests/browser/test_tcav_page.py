"""The exported page of the TCAV explorer in a browser: rows, their words, hover, class and layer."""

import pytest

pytestmark = pytest.mark.browser

VIEW = "document.querySelector('#root').explorer"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
ROWS = ".lk-crows .lk-crow:visible"


@pytest.fixture
def saved(saved_page):
    return saved_page("tcav")


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def test_a_row_says_what_python_found(page, saved):
    rows = {row["name"]: row for row in words(page)}
    explorer = saved.explorer
    explorer.picture, explorer.target, explorer.layer = 0, 0, 0
    explorer.wait_idle()
    assert list(rows) == ["red", "green"]  # blue was not tested
    for name, row in rows.items():
        found = explorer.rows[name]
        assert f"score {found['score']:.2f}" in row["label"]
        assert f"chance {found['chance']:.2f}" in row["label"]
        assert row["dots"] == len(found["null"])
    assert f"{explorer.rows['red']['moved'][0]:+.2f}".replace("-", "\u2212")[:4] in rows["red"]["label"]
    assert "drawn anew" not in rows["green"]["label"]


def words(page):
    return page.evaluate(
        f"""() => [...document.querySelectorAll('{ROWS.replace(":visible", "")}')].filter((n) => !n.hidden)
        .map((n) => ({{ name: n.querySelector('b').textContent, label: n.getAttribute('aria-label'),
          dots: n.querySelector('path').getAttribute('d').split('M').length - 1 }}))"""
    )


def test_the_pointer_shows_a_concept_s_pictures_and_a_click_keeps_them(page):
    title = "[data-panel=picture] figcaption b"
    assert page.inner_text(title) == "red"
    page.locator(ROWS).nth(1).hover()
    assert page.inner_text(title) == "green"
    assert page.evaluate(f"() => {VIEW}.state.picture") == 0
    page.mouse.move(2, 2)
    assert page.inner_text(title) == "red"
    page.locator(ROWS).nth(1).click()
    page.mouse.move(2, 2)
    assert page.inner_text(title) == "green"
    assert page.evaluate(f"() => {VIEW}.state.picture") == 1
    page.keyboard.press("ArrowUp")
    assert page.inner_text(title) == "red"


def test_class_and_layer_follow_the_hand(page):
    before = words(page)
    page.locator(".lk-slider input").nth(0).press("ArrowRight")
    other = words(page)
    assert page.inner_text("h1").endswith("horse?")
    page.locator(".lk-slider input").nth(1).press("ArrowRight")
    assert len({str(before), str(other), str(words(page))}) == 3
    assert page.evaluate(f"() => [{VIEW}.state.target, {VIEW}.state.layer]") == [1, 1]


def test_the_pair_is_shown_where_there_is_one(page):
    assert page.locator("[data-panel=pair]").is_visible()
    page.locator(ROWS).nth(1).click()
    assert not page.locator("[data-panel=pair] canvas").is_visible()


def test_the_answer_names_what_is_significant_and_what_moves_the_logit(page, saved):
    explorer = saved.explorer
    explorer.picture, explorer.target, explorer.layer = 0, 0, 0
    explorer.wait_idle()
    found = [name for name, row in explorer.rows.items() if row["p"] <= 0.05]
    said = " and ".join(found) or "none"
    assert page.inner_text(".lk-answer").startswith(f"Significant among random concepts: {said}.")
    assert "Drawn anew, moves the logit:" in page.inner_text(".lk-answer")
