"""The base of every explorer: its traits, its worker, errors that are seen, export to one file."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets as T

from labkit.core.checks import nearest
from labkit.core.files import write_whole
from labkit.widgets.kit.page import html_page
from labkit.widgets.kit.worker import Stopped, Worker, explain_error

__all__ = ["THEMES", "Explorer"]

SAID = ("status", "error", "progress")  # what a job says of itself
THEMES = ("auto", "light", "dark", "projector", "projector-light", "projector-dark")


class Explorer(anywidget.AnyWidget):
    """Base of the explorers: traits ``status``, ``error``, ``progress``, ``cancel``, a worker, and export.

    A subclass implements ``_work(stale)``, which runs on the worker thread, changes traits only through
    ``_tell`` and checks ``stale()`` between its steps, and says in ``_saved`` what a page carries. Raises
    TypeError for arguments that no explorer knows.
    """

    TWICE: ClassVar[tuple[str, ...]] = ()  # traits whose values a page has in ``saved`` already

    status = T.Unicode("ready").tag(sync=True)
    error = T.Unicode("").tag(sync=True)
    progress = T.Float(1.0).tag(sync=True)
    cancel = T.Bool(False).tag(sync=True)
    watched = T.Int(0, help="how many times a page has opened the widget").tag(sync=True)
    left = T.Int(0, help="how many of these are closed again").tag(sync=True)
    theme = T.Enum(THEMES, "auto").tag(sync=True)
    live = T.Bool(True, help="False in an exported page").tag(sync=True)
    saved: T.List = T.List(help="what an exported page carries").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._mutex = threading.RLock()
        self._worker = Worker()
        for name in traits:
            if not self.has_trait(name):
                close = ", ".join(map(repr, nearest(name, self._arguments())))
                raise TypeError(f"{type(self).__name__} knows no argument {name!r}. The nearest: {close}.")
        super().__init__(**traits)

    def _arguments(self) -> list[str]:
        """What may be given by name: the parameters of every class up to this one, then the traits."""
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, Explorer)]
        given = [name for kind in kinds for name in inspect.signature(kind.__init__).parameters]
        return [*given[1:], *(name for name in self.keys if not name.startswith("_"))]

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

    def close(self) -> None:
        """Stop what runs and close the widget in every page."""
        if "_worker" in vars(self):  # Python also closes what was refused before it had one
            self._worker.close()
        super().close()

    def _tell(self, **traits: Any) -> None:
        """Set traits; ``progress`` in whole per cent, as it is shown: a page has better to do than hear more.

        What an overtaken job found is still told; how far it has come is no longer true.
        """
        if "progress" in traits:
            traits["progress"] = int(100 * traits["progress"]) / 100
        with self._mutex:
            late = self._worker.overtaken
            self._set(**{name: value for name, value in traits.items() if not (late and name in SAID)})

    def _set(self, **traits: Any) -> None:
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
                if not widget._worker.waits:
                    widget._set(status="stopped", progress=1.0)
            except Exception as error:  # every failure must be seen in the widget
                function = getattr(widget, "method", None)
                widget._tell(error=explain_error(error, function), status="error", progress=1.0)

        self._worker.submit(job)

    @T.observe("cancel")
    def _cancelled(self, change: Any) -> None:
        if change["new"]:
            with self._mutex:
                stopped = {"status": "stopped"} if self._worker.stop() else {}  # it may have ended by now
                self._set(cancel=False, progress=1.0, **stopped)

    @T.observe("left")
    def _abandoned(self, change: Any) -> None:
        """No page shows the widget any more: its cell was run again, or its notebook closed."""
        if self.watched and change["new"] >= self.watched:
            self._worker.stop()

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

        What was not asked for is not there: ``precompute()`` computes what the page's controls are to offer.
        A ``title`` of your own is the page's heading, where a lecture hall can read it.
        What does not fit into ``limit_mb`` is left out, the least recently used first; a warning says so.
        """
        self.wait_idle(None)
        hidden = {"layout", "tabbable", "tooltip", "saved", "watched", "left", "refused", *self.TWICE}
        with self._mutex:
            state = self.get_state([k for k in self.keys if k not in hidden and not k.startswith("_")])
        return html_page(title, str(self._esm), str(self._css), state, self._saved(), limit_mb)

    def save_html(self, path: str | Path, title: str = "labkit", limit_mb: float = 5.0) -> Path:
        """Write ``to_html()`` to ``path`` and return the path."""
        return write_whole(Path(path), self.to_html(title, limit_mb))
