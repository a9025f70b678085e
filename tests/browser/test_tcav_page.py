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


def test_the_answer_names_what_is_significant_and_how_many_were_asked(page, saved):
    explorer = saved.explorer
    explorer.picture, explorer.target, explorer.layer = 0, 0, 0
    explorer.wait_idle()
    found = [name for name, row in explorer.rows.items() if row["p"] <= 0.05]
    said = " and ".join(found) or "none"
    asked = f"(p \u2264 .05 in {len(found)} of 2; by chance in 0.10)"
    assert page.inner_text(".lk-answer").startswith(f"Significant among random concepts: {said} {asked}.")


def answers(page, rows, **more):
    """Put rows made by hand into the answer on view, and say what is drawn of them."""
    page.evaluate(
        f"""([rows, more]) => {{ const view = {VIEW}, answer = view.find();
        rows.forEach((row, i) => Object.assign(answer.rows[i], row)); Object.assign(answer, more);
        view.draw() }}""",
        [rows, more],
    )
    signs = "() => [...document.querySelectorAll('.lk-crow [data-sign]')].map((n) => n.dataset.sign)"
    return page.inner_text(".lk-answer"), page.evaluate(signs)


@pytest.mark.parametrize(
    ("moved", "sign"),
    [([0.43, 0.1, 0.8], "positive"), ([-0.31, -0.6, -0.05], "negative"), ([0.9, -0.1, 1.8], "")],
)
def test_the_headline_and_the_colours_ask_one_thing_of_the_interval(page, moved, sign):
    said, signs = answers(page, [{"moved": moved}])
    named = "red" if sign else "none"
    assert said.endswith(f"Drawn anew, moves the logit (95% interval without 0): {named}.")
    assert signs[:2] == [sign, sign]  # the bar and its number


def test_where_the_gradient_is_the_same_for_all_pictures_a_score_is_a_mean_over_draws(page, saved):
    before, _ = answers(page, [])
    said, _ = answers(page, [{"score": 2 / 3}], constant=True)
    assert "each draw gives 0 or 1, by algebra; shown is the mean of 3 draws" in said
    assert said.split("Drawn")[1] == before.split("Drawn")[1]
    assert page.locator(".lk-cword small").first.inner_text() == "no test"


@pytest.mark.parametrize("theme", ["light", "projector"])
def test_long_headlines_leave_the_panels_apart_and_names_whole(open_page, saved, theme):
    page = open_page(f"{saved.titled}#theme={theme}", width=1280, height=720)
    answers(page, [{"moved": [0.9, 0.8, 1.0]}], constant=True)
    page.evaluate(
        f"""() => {{ const view = {VIEW}; view.model.get('captions')[0].name = 'checkered'; view.draw() }}"""
    )
    page.evaluate(FRAMES)
    bottom = "() => document.querySelector('[data-panel=pair] canvas').getBoundingClientRect().bottom"
    assert page.evaluate(bottom) <= page.locator(".lk-below").bounding_box()["y"]
    lines = """(where) => { const range = document.createRange();
      range.selectNodeContents(document.querySelector(where)); return range.getClientRects().length }"""
    assert page.evaluate(lines, ".lk-crows b") == 1
    word, next_one = page.locator(".lk-crows .lk-crow").first.locator(".lk-cword, .lk-czero").all()[:2]
    word = page.evaluate(
        """() => { const range = document.createRange();
        range.selectNodeContents(document.querySelector('.lk-crows .lk-cword small'));
        return range.getBoundingClientRect().right }"""
    )
    assert word <= next_one.bounding_box()["x"]
