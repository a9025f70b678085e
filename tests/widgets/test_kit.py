"""The kit: a worker keeps to the latest request, a cache to the latest used, a page to itself."""

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import labkit.widgets
from labkit.widgets import Comparer, MaskExplorer, OcclusionExplorer, OverlayExplorer, SanityExplorer
from labkit.widgets.kit.base import Explorer
from labkit.widgets.kit.cache import Cache
from labkit.widgets.kit.page import html_page, module, packed, text_of
from labkit.widgets.kit.worker import Stopped, Worker, explain_error

MAKERS = {
    "occlusion": lambda *given, **more: OcclusionExplorer(*given, windows=[8, 16], strides=[4, 8], **more),
    "comparer": lambda *given, **more: Comparer(*given, methods=["saliency", "grad_cam"], **more),
    "masks": lambda *given, **more: MaskExplorer(*given, areas=(0.1, 0.4), steps=2, **more),
    "overlay": lambda *given, **more: OverlayExplorer(*given, layers=["conv"], **more),
    "sanity": lambda *given, **more: SanityExplorer(*given, methods=["saliency"], **more),
}


# ---- the worker


def test_worker_runs_the_first_and_the_last_of_a_burst_only():
    worker, gate, began, seen = Worker(), threading.Event(), threading.Event(), []

    def first(stale):
        began.set()
        gate.wait(10)
        seen.append(("first", stale()))

    worker.submit(first)
    assert began.wait(10)
    for i in range(40):
        worker.submit(lambda stale, i=i: seen.append((i, stale())))
    assert worker.waits
    gate.set()
    assert worker.wait(10)
    assert seen == [("first", True), (39, False)]
    assert not worker.waits


def test_worker_stop_makes_the_running_job_stale_and_drops_the_waiting_one():
    worker, gate, began, seen = Worker(), threading.Event(), threading.Event(), []

    def job(stale):
        began.set()
        gate.wait(10)
        seen.append(stale())

    worker.submit(job)
    assert began.wait(10)
    worker.submit(lambda stale: seen.append("never"))
    worker.stop()
    assert not worker.wait(0.01)
    gate.set()
    assert worker.wait(10)
    assert seen == [True]


def test_error_names_the_line_of_the_function():
    def occlusion(model):
        shapes = {}
        return shapes["width"]  # the line to be named

    with pytest.raises(KeyError) as caught:
        occlusion(None)
    text = explain_error(caught.value, occlusion)
    assert text.splitlines()[0] == "KeyError: 'width'"
    assert "in occlusion, line" in text
    assert 'return shapes["width"]' in text
    assert explain_error(caught.value) == "KeyError: 'width'"


# ---- the cache


def answer(name, size):
    return {"kind": "map", "name": name, "data": bytes(size)}


def test_the_cache_sends_each_answer_once_and_again_to_a_new_page():
    sent = []
    cache = Cache(sent.append)
    cache.keep(("a",), answer("a", 4))
    for _ in range(3):
        cache.offer(("a",))
    assert [a["name"] for a in sent] == ["a"]
    cache.forget_sent()
    cache.offer(("a",))
    cache.keep(("a",), answer("a, mended", 4))
    cache.offer(("a",))
    assert [a["name"] for a in sent] == ["a", "a", "a, mended"]


def test_the_cache_forgets_what_was_not_used_for_longest():
    cache = Cache(lambda _: None, limit=100)
    for name in "abc":
        cache.keep((name,), answer(name, 30))
    cache.offer(("a",))
    cache.keep(("d",), answer("d", 30))
    assert ("b",) not in cache
    assert [key for key, _ in cache.latest()] == [("d",), ("a",), ("c",)]
    assert cache.get(("b",)) is None
    cache.keep(("e",), answer("e", 30))  # looking at them was no use: c goes, not a
    assert [key for key, _ in cache.latest()] == [("e",), ("d",), ("a",)]


def test_two_answers_stay_whatever_they_weigh():
    cache = Cache(lambda _: None, limit=100)
    for name in "abc":
        cache.keep((name,), answer(name, 10_000))
    assert [key for key, _ in cache.latest()] == [("c",), ("b",)]


# ---- the page


def test_packing_halves_the_arrays_and_keeps_other_bytes():
    values = np.array([1.5, -2.25, 1000.0], np.float32)
    found = packed({"dtype": "f4", "data": values.tobytes(), "rest": [b"\x00\xff", 3]})
    assert found["dtype"] == "f2"
    assert found["rest"] == [{"base64": "AP8="}, 3]
    half = np.frombuffer(base64.b64decode(found["data"]["base64"]), np.float16)
    assert half.tolist() == [1.5, -2.25, 1000.0]


def test_a_page_leaves_out_what_does_not_fit_and_holds_nothing_by_mistake():
    answers = [answer("a", 30_000), answer("b", 90_000), answer("c", 10)]
    with pytest.warns(UserWarning, match=r"holds 1 of the 3 answers.*limit_mb=0\.1"):
        page = html_page("Is @STATE@ < 2?", "script", "style", {"x": "@MODULE@ </script>"}, answers, 0.1)
    assert "<title>Is @STATE@ &lt; 2?</title>" in page
    state = json.loads(page.split('id="state">')[1].split("</script>")[0])
    assert (state["x"], state["heading"], state["live"]) == ("@MODULE@ </script>", "Is @STATE@ < 2?", False)
    assert [a["name"] for a in state["saved"]] == ["a"]  # and not c, which would come before b
    assert state["left_out"] == 2


def test_sources_load_nothing_from_elsewhere():
    folder = Path(labkit.widgets.__file__).parent
    kinds = {".js", ".css", ".html"}
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in kinds]
    assert len(names) >= 10
    for name in names:
        text = text_of(name).replace("http://www.w3.org/2000/svg", "")  # a name, which nobody asks for
        assert "http:" not in text
        assert "https:" not in text
        assert "//cdn" not in text
        assert "@import" not in text
        assert "\nimport " not in text
        assert "await import(" not in text or name == "kit/page.html"  # which imports what it holds itself


def test_an_explorer_s_module_is_the_kit_and_its_own_file():
    for name in ("occlusion", "comparer", "mask", "sanity"):
        assert module(f"{name}.js").endswith(text_of(f"{name}.js"))
        assert module(f"{name}.js").count("class View") == 1


# ---- the base


class Waiting(Explorer):
    """Works until it is told to stop."""

    _esm = "export default { render() {} }"

    def _work(self, stale):
        self._tell(status="computing")
        self.began.set()
        while not stale():
            self.pause.wait(0.002)
        raise Stopped


@pytest.fixture
def waiting():
    widget = Waiting()
    widget.began, widget.pause = threading.Event(), threading.Event()
    widget._request()
    assert widget.began.wait(10)
    yield widget
    widget.cancel = True
    widget.wait_idle(10)


def test_cancel_from_the_page_ends_the_work(waiting):
    waiting.set_state({"cancel": True})
    waiting.wait_idle(0.1)
    assert (waiting.status, waiting.cancel, waiting.error) == ("stopped", False, "")


def test_a_stop_that_comes_too_late_changes_nothing(waiting):
    waiting.cancel = True
    waiting.wait_idle(10)
    waiting.status = "ready"
    waiting.set_state({"cancel": True})
    assert (waiting.status, waiting.cancel) == ("ready", False)


def test_a_stopped_job_says_no_more_of_how_far_it_has_come():
    class Stubborn(Waiting):
        def _work(self, stale):
            self._tell(status="computing", progress=0.5)
            self.began.set()
            assert self.pause.wait(10)
            self._tell(status="ready", progress=0.7, theme="dark")
            told.append((self.status, self.progress, self.theme))

    told = []
    widget = Stubborn()
    widget.began, widget.pause = threading.Event(), threading.Event()
    widget._request()
    assert widget.began.wait(10)
    widget.cancel = True
    widget.pause.set()
    widget.wait_idle(10)
    assert told == [("stopped", 1.0, "dark")]


def test_a_closed_widget_stops_its_worker(waiting):
    waiting.close()
    waiting.wait_idle(10)
    assert waiting.status == "stopped"


def test_a_widget_that_no_page_shows_any_more_stops_its_worker(waiting):
    waiting.set_state({"watched": 2})
    waiting.set_state({"left": 1})  # one of its two pages was closed
    with pytest.raises(TimeoutError):
        waiting.wait_idle(0.02)
    waiting.set_state({"left": 2})  # its cell was run again
    waiting.wait_idle(10)
    assert (waiting.status, waiting.progress) == ("stopped", 1.0)


def test_wait_idle_says_what_to_do_when_time_is_up(waiting):
    with pytest.raises(TimeoutError, match="cancel = True"):
        waiting.wait_idle(0.01)


def test_unknown_theme_is_refused():
    with pytest.raises(Exception, match="theme"):
        Waiting(theme="neon")


# ---- every explorer


@pytest.fixture(params=list(MAKERS))
def explorer(request, tiny, pictures):
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 10:22] = True
    widget = MAKERS[request.param](tiny, pictures, names=["one", "two", "three"], masks=masks)
    widget.wait_idle()
    yield widget
    widget.close()
    widget.wait_idle()


def test_what_is_known_is_not_computed_again(explorer):
    for picture in (1, 0):
        explorer.set_state({"picture": picture})
        explorer.wait_idle()
    calls = explorer.model.calls
    for picture in (1, 0, 1):
        explorer.set_state({"picture": picture})
        explorer.wait_idle()
        assert explorer.delivery["picture"] == picture
    assert explorer.model.calls == calls


class Eats(torch.nn.Module):
    """Normalizes its pictures in place, and keeps what it makes at its first call."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.scale = torch.nn.Conv2d(3, 4, 5), torch.nn.Linear(4, 4), None

    def forward(self, x):
        if self.scale is None:
            self.scale = torch.full((1, 4, 1, 1), 2.0)
        return self.head((torch.relu(self.conv(x.sub_(0.5))) * self.scale).mean((2, 3)))


@pytest.mark.parametrize("name", MAKERS)
def test_a_network_that_writes_into_its_input_leaves_the_pictures(name, pictures):
    model = Eats().eval()
    model.classes, model.input_size = list("abcd"), 32
    widget = MAKERS[name](model, pictures)
    widget.wait_idle()
    assert widget.error == ""
    assert torch.equal(torch.stack(list(widget.images)), pictures)
    assert model.scale is None  # a copy of it worked
    assert not widget.model.scale.is_inference()  # or no gradient could pass by it any more
    widget.close()
    widget.wait_idle()


def test_a_page_opened_anew_is_sent_every_photo_with_its_mask(explorer):
    photos = []
    explorer.observe(lambda change: photos.append(change["new"]), "photo")
    explorer.set_state({"watched": 1})
    explorer.wait_idle()
    assert {photo["picture"] for photo in photos} == {0, 1, 2}
    assert all(sum(photo["mask"]) == 12 * 12 for photo in photos)


def test_a_photograph_of_one_s_own_has_no_truth(explorer):
    rgb = np.arange(32 * 32 * 3, dtype=np.uint8)
    explorer.set_state({"upload": {"name": "mine", "width": 32, "height": 32, "data": rgb.tobytes()}})
    explorer.wait_idle()
    assert (explorer.error, explorer.picture, explorer.photo["mask"]) == ("", 3, b"")


def test_hooks_and_gradients_of_one_s_own_network_hear_nothing_of_the_explorer(explorer, tiny):
    heard, handle = [], tiny.conv.register_forward_hook(lambda *_: heard.append(1))
    calls, asked = explorer.model.calls, [p.requires_grad for p in tiny.parameters()]
    explorer.set_state({"picture": 1})
    explorer.wait_idle()
    handle.remove()
    if not isinstance(explorer, OverlayExplorer):  # which asked all pictures at once
        assert explorer.model.calls > calls
    assert (heard, tiny.calls) == ([], 0)
    assert [p.requires_grad for p in tiny.parameters()] == asked
    assert all(torch.equal(a, b) for a, b in zip(explorer.model.parameters(), tiny.parameters(), strict=True))


def test_a_network_that_cannot_be_copied_is_used_itself(tiny, pictures):
    tiny.conv.weight = torch.nn.Parameter(tiny.conv.weight.detach())
    tiny.scaled = tiny.conv.weight * 1  # no leaf: copy.deepcopy refuses it
    widget = Comparer(tiny, pictures, methods=["saliency"])
    widget.wait_idle()
    assert widget.model is tiny
    assert widget.error == ""


@pytest.mark.parametrize("name", MAKERS)
def test_what_a_toy_network_knows_and_what_was_cut_stands_beside_its_answer(name, tiny, pictures, tmp_path):
    from PIL import Image

    rgb = bytes(32 * 32 * 3)
    Image.new("RGB", (90, 48), "grey").save(tmp_path / "wide.png")
    Image.new("RGB", (48, 48), "grey").save(tmp_path / "square.png")
    for card, knows in (({"name": "minivgg", "classes": 4}, True), ({"weights": "IMAGENET1K_V1"}, False)):
        tiny.card = card
        widget = MAKERS[name](tiny, pictures)
        for cropped in (True, False):
            photo = {"name": "mine", "width": 32, "height": 32, "data": rgb, "cropped": cropped}
            widget.set_state({"upload": photo})
            widget.set_state({"path": str(tmp_path / ("wide.png" if cropped else "square.png"))})
        widget.close()
        notes = [caption["note"] for caption in widget.captions]
        assert notes[:3] == ["", "", ""]  # what was passed as tensors is no photograph that we know of
        assert notes[3] == notes[4]  # uploaded, and by its path
        assert notes[5] == notes[6]
        assert "The middle square of this photograph was cut out" in notes[3]
        assert "cut out" not in notes[5]
        assert all(("This network knows 4 toy classes only" in note) == knows for note in notes[3:])
        widget.wait_idle()


def test_an_upload_that_is_no_picture_is_refused_in_words(explorer):
    explorer.set_state({"upload": {"name": "mine", "width": 32, "height": 32, "data": b"12"}})
    assert "mine cannot be read as a picture" in explorer.refused
    assert len(explorer.captions) == 3
    rgb = bytes(32 * 32 * 3)
    explorer.set_state({"upload": {"name": "whole", "width": 32, "height": 32, "data": rgb}})
    assert explorer.refused == ""


def test_an_argument_that_nobody_knows_is_named(tiny, pictures):
    with pytest.raises(TypeError, match=r"Comparer knows no argument 'mask'\. The nearest: 'mask"):
        Comparer(tiny, pictures, methods=["saliency"], mask=None)


def test_masks_of_another_shape_are_refused(tiny, pictures):
    with pytest.raises(ValueError, match=r"masks must have one mask a picture, shape \(3, 32, 32\)"):
        OcclusionExplorer(tiny, pictures, masks=torch.zeros(3, 8, 8, dtype=torch.bool))


def test_a_closed_worker_begins_nothing_that_was_on_its_way():
    worker, seen = Worker(), []
    begun, go = threading.Event(), threading.Event()

    def job(stale):
        begun.set()
        go.wait(10)
        seen.append(stale())

    worker.submit(job)
    assert begun.wait(10)
    worker.close()
    worker.submit(job)  # a message of the page that arrived while it was being closed
    go.set()
    assert worker.wait(10)
    assert seen == [True]
