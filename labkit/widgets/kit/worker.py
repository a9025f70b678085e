"""A latest-wins worker thread, how its jobs are stopped, and errors in words."""

from __future__ import annotations

import atexit
import inspect
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Stopped", "Worker", "explain_error", "stoppable"]


class Stopped(Exception):
    """Raised inside a computation that a newer request, or cancel, has made useless."""


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
        self._generation = self._running = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        Worker._alive.add(self)

    def submit(self, job: Callable[[Callable[[], bool]], None]) -> None:
        """Ask for ``job``; the job that runs is told that it is stale, one that waits is replaced.

        Nothing happens once it is closed.
        """
        with self._condition:
            if self._closed:
                return
            self._generation += 1
            self._job = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="labkit-explorer", daemon=True)
                self._thread.start()

    def stop(self) -> bool:
        """Forget what waits and tell the running job that it is stale; False if nothing ran or waited."""
        with self._condition:
            self._generation += 1
            self._job = None
            return self._thread is not None

    def close(self) -> None:
        """Stop for good: a request that was on its way is not begun."""
        with self._condition:
            self._closed = True
            self.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; False if ``timeout`` seconds did not suffice."""
        with self._condition:
            return self._condition.wait_for(lambda: self._thread is None, timeout)

    @property
    def waits(self) -> bool:
        """Whether a job has been asked for that has not begun."""
        return self._job is not None

    @property
    def overtaken(self) -> bool:
        """Whether it is a stale job that asks."""
        return threading.current_thread() is self._thread and self._generation != self._running

    def _run(self) -> None:
        while True:
            with self._condition:
                job, mine = self._job, self._generation
                self._running = mine
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


@contextmanager
def stoppable(model: torch.nn.Module, stale: Callable[[], bool]) -> Iterator[None]:
    """Let calls of the model on this thread raise Stopped once ``stale()``; other threads are left alone."""
    mine = threading.get_ident()

    def check(*_: Any) -> None:
        if threading.get_ident() == mine and stale():
            raise Stopped

    handle = model.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


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
