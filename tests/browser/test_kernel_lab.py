"""Every explorer and the life of its kernel: restarted, run again, closed."""

import pytest

from .jupyter import ASK, WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW = {
    "occlusion": "OcclusionExplorer(net, pictures, windows=[16, 24], strides=[8])",
    "comparer": "Comparer(net, pictures, methods=['saliency', 'grad_cam'])",
    "masks": "MaskExplorer(net, pictures, areas=(0.1, 0.3), steps=2)",
    "sanity": "SanityExplorer(net, pictures, methods=['saliency'])",
}
ENDLESS = """
from labkit.widgets import Comparer

def endless(model, images, target):
    while True:
        model(images)

olds = globals().get("olds", []) + [Comparer(net, pictures, methods={"endless": endless})]
olds[-1]
"""
WATCHED = "import time\nwhile not olds[-1].watched: time.sleep(0.02)\nprint(len(olds))"
IDLE = "olds[0].wait_idle(60); print(olds[0].status)"


def command(page, name):
    page.evaluate("(name) => { window.jupyterapp.commands.execute(name); void 0 }", name)


def test_after_a_restart_the_widget_says_what_to_do_and_shows_what_it_has(lab, open_page):
    cells = [f"from labkit.widgets import *\n{show}" for show in SHOW.values()]
    page = lab.open(open_page, [WORLD, *cells], ".lk-sanity .lk-stage")
    ready = "() => [...document.querySelectorAll('.lk')].every((n) => n.explorer?.find() && n.explorer.state)"
    page.wait_for_function(f"() => document.querySelectorAll('.lk').length === 4 && ({ready})()")
    page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); void 0 }"
    )
    page.wait_for_function("() => [...document.querySelectorAll('.lk')].every((n) => n.explorer.cut)")
    for kind in SHOW:
        said = page.inner_text(f".lk-{kind} > .lk-error")
        assert "The kernel was restarted" in said
        assert "Run its cell again" in said
        assert page.inner_text(f".lk-{kind} .lk-chip") == "no kernel"
        assert page.locator(f".lk-{kind} .lk-thumb:visible").count() <= 2
    assert page.evaluate(ready)
    page.locator(".lk-occlusion .lk-pick:visible").nth(1).click()  # its drops are of all classes
    assert page.evaluate("() => Boolean(document.querySelector('.lk-occlusion').explorer.exact)")


def test_a_widget_whose_cell_is_run_again_stops_its_worker(lab, open_page):
    page = lab.open(open_page, [WORLD, ENDLESS], ".lk-comparer .lk-stage")
    assert page.evaluate(ASK, WATCHED) == "1"
    command(page, "notebook:run-all-cells")
    page.wait_for_function(f"async () => (await ({ASK})('print(len(olds))')) === '2'", polling=500)
    assert page.evaluate(ASK, IDLE) == "stopped"
    assert page.evaluate(ASK, "print(olds[1]._worker.wait(0.1))") == "False"  # the new one goes on
    assert page.evaluate(ASK, "olds[1].close(); print(olds[1]._worker.wait(60))") == "True"
