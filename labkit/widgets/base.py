"""What every explorer shares: its text, a latest-wins worker, errors that are seen, export to one file."""

from __future__ import annotations

import atexit
import base64
import html
import inspect
import json
import threading
import traceback
import weakref
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets as T

__all__ = ["Explorer", "Stopped", "Worker", "explain_error", "source"]


class Stopped(Exception):
    """Raised inside a computation that a newer request, or cancel, has made useless."""


@cache
def source(*names: str) -> str:
    """The text of files beside this one, joined; before ``.js`` come the shared helpers and the colour map.

    >>> source("occlusion.js").count("export default")
    1
    """
    text = "\n".join((files("labkit.widgets") / name).read_text("utf-8") for name in names)
    if not names[0].endswith(".js"):
        return text
    from matplotlib import colormaps

    tables = []
    for name, colours, steps in [("DIVERGING", "RdBu_r", 255), ("SEQUENTIAL", "viridis", 256)]:
        rgb = (colormaps[colours](np.linspace(0, 1, steps))[:, :3] * 255).round().astype(np.uint8)
        tables.append(f'const {name}_TABLE = "{base64.b64encode(rgb.tobytes()).decode()}";')
    shared = (files("labkit.widgets") / "shared.js").read_text("utf-8")
    return "\n".join([*tables, shared, text])


def explain_error(error: BaseException, function: Callable | None = None) -> str:
    """The error in words: its type and message, then the line of ``function`` (the student's) it came from.

    >>> def half(x):
    ...     return x / 0
    >>> try:
    ...     half(1)
    ... except ZeroDivisionError as error:
    ...     print(explain_error(error, half).splitlines()[0])
    ZeroDivisionError: division by zero
    """
    lines = ["".join(traceback.format_exception_only(error)).strip()]
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    if code is not None:
        own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
        if own:
            lines += [f"in {own[-1].name}, line {own[-1].lineno}:", f"    {own[-1].line}".rstrip()]
    return "\n".join(lines)


class Worker:
    """One thread that always works on the latest request and drops the ones before it.

    A job is called with ``stale()``, True once something newer was asked for or ``stop`` was called.

    >>> worker, seen = Worker(), []
    >>> worker.submit(lambda stale: seen.append("done"))
    >>> worker.wait(10), seen
    (True, ['done'])
    """

    _alive: weakref.WeakSet[Worker] = weakref.WeakSet()

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._job: Callable[[Callable[[], bool]], None] | None = None
        self._generation = 0
        self._thread: threading.Thread | None = None
        Worker._alive.add(self)

    def submit(self, job: Callable[[Callable[[], bool]], None]) -> None:
        """Ask for ``job``; the job that runs is told that it is stale, one that waits is replaced."""
        with self._condition:
            self._generation += 1
            self._job = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="labkit-explorer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Forget what waits and tell the running job that it is stale."""
        with self._condition:
            self._generation += 1
            self._job = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; False if ``timeout`` seconds did not suffice."""
        with self._condition:
            return self._condition.wait_for(lambda: self._thread is None, timeout)

    def _run(self) -> None:
        while True:
            with self._condition:
                job, mine = self._job, self._generation
                self._job = None
                if job is None:
                    self._thread = None
                    self._condition.notify_all()
                    return
            job(lambda mine=mine: self._generation != mine)  # type: ignore[misc]


@atexit.register
def _stop_workers() -> None:
    """A thread inside torch while Python shuts down ends the process with a crash: stop them first."""
    for worker in list(Worker._alive):
        worker.stop()
        worker.wait(5)


def _packed(value: Any) -> Any:
    """JSON stand-in of a trait value: bytes as base64, arrays of numbers as float16 times a ``scale``."""
    if isinstance(value, dict):
        if value.get("dtype") == "f4":
            values = np.frombuffer(value["data"], np.float32)
            top = float(np.abs(values).max(initial=0))
            legal = top == 0 or 0.01 <= top < 6e4  # else float16 would lose what is small, or overflow
            scale = 1.0 if legal else 2.0 ** np.floor(np.log2(top))
            half = (values / np.float32(scale)).astype(np.float16).tobytes()
            value = value | {"dtype": "f2", "data": half, "scale": float(scale)}
        return {key: _packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return value


class Explorer(anywidget.AnyWidget):
    """Base of the explorers: traits ``status``, ``error``, ``progress``, ``cancel``, a worker, and export.

    A subclass implements ``_work(stale)``, which runs on the worker thread, changes traits only through
    ``_tell`` and checks ``stale()`` between its steps.
    """

    status = T.Unicode("ready").tag(sync=True)
    error = T.Unicode("").tag(sync=True)
    progress = T.Float(1.0).tag(sync=True)
    cancel = T.Bool(False).tag(sync=True)
    watched = T.Int(0, help="how many times a page has opened the widget").tag(sync=True)
    theme = T.Enum(["auto", "light", "dark", "projector"], "auto").tag(sync=True)
    live = T.Bool(True, help="False in an exported page").tag(sync=True)
    saved: T.List = T.List(help="what an exported page carries").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._mutex = threading.RLock()
        self._worker = Worker()
        super().__init__(**traits)

    # -- the two directions of the wire; the lock keeps a message that arrives from swallowing one that leaves
    def set_state(self, sync_data: dict[str, Any]) -> None:
        with self._mutex:
            super().set_state(sync_data)

    # ipykernel 7.4 sends a page's answer to the loop that spoke last: once a cell or a thread has spoken, the
    # main loop, and the widget is deaf while a cell runs. Forget who spoke: the page's own channel is right.
    def open(self) -> None:
        """Open the channel to the page (ipywidgets calls this)."""
        super().open()
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        super()._send(msg, buffers)
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def _tell(self, **traits: Any) -> None:
        with self._mutex:
            for name, value in traits.items():
                setattr(self, name, value)

    def _request(self, *_: Any) -> None:
        """Start (or restart) the work for the present traits."""
        reference = weakref.ref(self)

        def job(stale: Callable[[], bool]) -> None:
            widget = reference()
            if widget is None:
                return
            try:
                widget._work(stale)
            except Stopped:
                pass
            except Exception as error:  # every failure must be seen in the widget
                if not stale():
                    function = getattr(widget, "method", None)
                    widget._tell(error=explain_error(error, function), status="error", progress=1.0)

        self._worker.submit(job)

    @T.observe("cancel")
    def _cancelled(self, change: Any) -> None:
        if change["new"]:
            self._worker.stop()
            self._tell(cancel=False, status="stopped", progress=1.0)

    def _work(self, stale: Callable[[], bool]) -> None:
        raise NotImplementedError

    def wait_idle(self, timeout: float | None = 120) -> None:
        """Wait until all that was asked for is computed; TimeoutError after ``timeout`` seconds."""
        if not self._worker.wait(timeout):
            raise TimeoutError(
                f"timeout must be longer than the work; after {timeout} s the widget is still {self.status}. "
                "Pass a larger timeout, or set .cancel = True."
            )

    # -- export
    def _saved(self) -> list[dict[str, Any]]:
        """Everything computed so far, most useful first."""
        return []

    def to_html(self, title: str = "labkit", limit_mb: float = 5.0) -> str:
        """One page that needs neither a kernel nor a network, alive for all that was computed.

        A ``title`` of your own stands over the picture too, where a lecture hall can read it.
        What does not fit into ``limit_mb`` is left out, the least recently used first.
        """
        self.wait_idle()
        hidden = {"layout", "tabbable", "tooltip", "saved"}
        with self._mutex:
            state = self.get_state([k for k in self.keys if k not in hidden and not k.startswith("_")])
        state |= {"live": False, "watched": 0, "saved": []}
        state = _packed(state)
        room = limit_mb * 1e6 - len(json.dumps(state)) - len(self._esm) - len(self._css)
        for item in map(_packed, self._saved()):
            room -= len(json.dumps(item))
            if room < 0:
                break
            state["saved"].append(item)
        parts = {
            "TITLE": html.escape(title),
            "HEADING": "" if title == "labkit" else f"<h1>{html.escape(title)}</h1>",
            "CSS": str(self._css),
            "STATE": json.dumps(state).replace("<", "\\u003c"),
            "MODULE": str(self._esm),
        }
        page = source("page.html")
        for name, text in parts.items():
            page = page.replace(f"@{name}@", text)
        return page

    def save_html(self, path: str | Path, title: str = "labkit", limit_mb: float = 5.0) -> Path:
        """Write ``to_html()`` to ``path`` and return the path."""
        path = Path(path)
        path.write_text(self.to_html(title, limit_mb), "utf-8")
        return path
