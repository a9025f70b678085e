"""The computing in a worker: run a submission's statements, call its function, send back what it returns."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["compute", "read_job", "sender"]


def compute(job: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    """Run the statements of a submission, then its function on each case, sending each outcome as it
    comes."""
    import linecache

    import torch

    from labkit.calls.call import Outcome, describe_error, perform, realize
    from labkit.calls.guard import Blocker
    from labkit.calls.wire import encode

    torch.set_num_threads(1)
    Blocker(job["blocks"]).install()
    for name, text in job["files"].items():
        # a name that this system does not take costs the file
        with suppress(OSError, ValueError), open(name, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    sys.path.insert(0, os.getcwd())
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    notes: list[str] = []
    blocked = ""
    for cell, source in job["steps"]:
        filename = f"<cell {cell}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        try:
            with _alarm(job["cell_seconds"]):
                exec(compile(source, filename, "exec"), space)
        except (Exception, SystemExit, _TooLong) as error:
            blocked = blocked or (str(error) if getattr(error, "labkit_blocked", False) else "")
            notes.append(f"cell {cell}: {describe_error(error)}"[:500])
    function = space.get(job["name"])
    send({"notes": notes[:10]})
    for index, case in job["cases"]:
        send({"begin": index})
        if blocked:
            outcome = Outcome("blocked", message=blocked)
        elif not callable(function):
            why = notes[-1] if notes else f"{job['name']} is not a function"
            outcome = Outcome("missing", message=why)
        else:
            outcome = perform(function, realize(case["args"]), realize(case["kwargs"]), case["probe"])
        answer = {"case": index, "kind": outcome.kind, "message": outcome.message, "left": outcome.left}
        try:
            encode(outcome.output)
        except (TypeError, RuntimeError, ValueError) as error:
            answer.update(kind="error", message=f"the result cannot be read: {error}"[:400])
        else:
            answer["output"] = outcome.output
        send(answer)


class _TooLong(BaseException):
    """A cell ran out of its time; not an Exception, so that ``except Exception`` does not swallow it."""


class _alarm:
    """Interrupt a cell after some seconds, where the system has timers."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __enter__(self) -> None:
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *ignored: object) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *ignored: object) -> None:
        raise _TooLong(f"it ran for more than {self.seconds:g} s and was passed over")


def sender(fd: int) -> Callable[[dict[str, Any]], None]:
    from labkit.calls.wire import encode

    def send(message: dict[str, Any]) -> None:
        body = encode(message)
        data = memoryview(len(body).to_bytes(8, "big") + body)
        while data:
            data = data[os.write(fd, data) :]

    return send


def read_job(fd: int) -> dict[str, Any]:
    from labkit.calls.wire import decode

    with os.fdopen(fd, "rb") as stream:
        return decode(stream.read())
