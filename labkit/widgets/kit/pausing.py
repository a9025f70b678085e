"""A slow function that is held between two steps, for as long as one likes, and then goes on as if nothing
had been."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit.widgets.kit.worker import Stopped

__all__ = ["Run"]


def _chances() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _put_back(chances: tuple[Any, ...]) -> None:
    torch.set_rng_state(chances[0])
    np.random.set_state(chances[1])
    random.setstate(chances[2])


class Run:
    """A function at work on a thread of its own, which waits there whenever nobody lets it go on.

    ``job``: called once with a ``should_stop``, which it passes on to the method that it runs.
    ``model``: what the method runs, a copy that nobody else uses: the thread keeps its lock while it waits.
    It waits before each pass of the model and where the method asks whether to stop.

    ``advance`` lets it work until it waits again; ``done`` says that it is through, with its ``result``.

    >>> net = torch.nn.ReLU()
    >>> def job(should_stop):
    ...     return [net(torch.ones(1)).item() for _ in range(2) if not should_stop()]
    >>> run, count = Run(job, net), 0
    >>> while run.advance():
    ...     count += 1
    >>> count, run.result
    (4, [1.0, 1.0])
    """

    def __init__(self, job: Callable[[Callable[[], bool]], Any], model: torch.nn.Module) -> None:
        self.done, self.result = False, None
        self._job, self.model = job, model
        self._turn = threading.Condition()
        self._works = self._left = False
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._chances = _chances()

    def advance(self) -> bool:
        """Let it work until it waits again; False once it is through. Raises what the job has raised."""
        with self._turn:
            if not self.done and not self._left:
                self._works = True
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="labkit-search", daemon=True)
                    self._thread.start()
                self._turn.notify_all()
                self._turn.wait_for(lambda: not self._works)
        if self._fault is not None:
            raise self._fault
        return not self.done and not self._left

    def close(self) -> None:
        """Give it up: its thread ends at the place where it waits."""
        with self._turn:
            self._left = True
            self._turn.notify_all()

    def _wait(self) -> None:
        with self._turn:
            self._works = False
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._works or self._left)
        # a method gives back the randomness that it found; by now that may be an old one
        self._chances = _chances()

    def _stops(self) -> bool:
        self._wait()
        return self._left

    def _passes(self, *_: Any) -> None:
        if threading.current_thread() is self._thread:
            self._wait()
            if self._left:
                raise Stopped

    def _run(self) -> None:
        handle = self.model.register_forward_pre_hook(self._passes)
        try:
            self.result = self._job(self._stops)
        except Stopped:
            pass
        except BaseException as error:  # raised again by whoever waits for it
            self._fault = error
        finally:
            handle.remove()
            _put_back(self._chances)
            with self._turn:
                self.done, self._works = not self._left, False
                self._turn.notify_all()
