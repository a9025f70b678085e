"""The worker keeps to the latest request, errors name the student's line, pages ask nobody for anything."""

import threading

import numpy as np
import pytest

from labkit.widgets.base import Explorer, Stopped, Worker, _packed, explain_error, source


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
    gate.set()
    assert worker.wait(10)
    assert seen == [("first", True), (39, False)]


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


def test_packing_halves_the_arrays_and_keeps_other_bytes():
    values = np.array([1.5, -2.25, 1000.0], np.float32)
    packed = _packed({"dtype": "f4", "data": values.tobytes(), "rest": [b"\x00\xff", 3]})
    assert packed["dtype"] == "f2"
    assert packed["rest"] == [{"base64": "AP8="}, 3]
    import base64

    half = np.frombuffer(base64.b64decode(packed["data"]["base64"]), np.float16)
    assert half.tolist() == [1.5, -2.25, 1000.0]


def test_sources_load_nothing_from_elsewhere():
    from pathlib import Path

    import labkit.widgets

    folder = Path(labkit.widgets.__file__).parent
    names = [p.name for p in folder.iterdir() if p.suffix in {".js", ".css", ".html"}]
    assert len(names) >= 6
    for name in names:
        text = source(name)
        assert "http:" not in text
        assert "https:" not in text
        assert "//cdn" not in text
        assert "@import" not in text
        if name.endswith(".js"):
            assert "\nimport " not in text


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


def test_wait_idle_says_what_to_do_when_time_is_up(waiting):
    with pytest.raises(TimeoutError, match="cancel = True"):
        waiting.wait_idle(0.01)


def test_unknown_theme_is_refused():
    with pytest.raises(Exception, match="theme"):
        Waiting(theme="neon")
