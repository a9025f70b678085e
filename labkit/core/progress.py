"""What is told while it runs: the progress of slow work, with the question whether to stop, and results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm


class Progress:
    """How far a piece of work is; ``complete`` turns False where it was stopped."""

    def __init__(
        self,
        bar: tqdm,
        total: float,
        report: Callable[[float], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.complete, self.total = True, total
        self.done: float = 0  # counts stay whole on the bar
        self._bar, self._report, self._should_stop = bar, report, should_stop

    def stopped(self) -> bool:
        """Ask whether to stop; once stopped, stopped for good."""
        if self.complete and self._should_stop is not None and self._should_stop():
            self.complete = False
        return not self.complete

    def at(self, done: float) -> None:
        """Tell how much of the total is done."""
        before, self.done = self.done, min(done, self.total)
        self._bar.update(self.done - before)
        if self._report is not None:
            self._report(self.done / self.total)


@contextmanager
def working(
    name: str,
    total: float,
    unit: str = "",
    *,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Progress]:
    """Work of ``total`` units, for the block: shows a bar if it takes more than a moment.

    ``unit``: what is counted, on the bar; without it the bar shows per cent.
    ``progress``: called with the share done (0 to 1); no bar is shown then.
    ``should_stop``: asked by ``Progress.stopped``.

    >>> shares, half = [], lambda: len(shares) == 2
    >>> with working("searching", 4, "step", progress=shares.append, should_stop=half) as work:
    ...     for step in range(4):
    ...         if work.stopped():
    ...             break
    ...         work.at(step + 1)
    >>> shares, work.complete
    ([0.25, 0.5], False)
    """
    form = None if unit else "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(
        total=total,
        desc=name,
        unit=unit,
        bar_format=form,
        leave=False,
        delay=1.5,
        disable=progress is not None,
    ) as bar:
        yield Progress(bar, total, progress, should_stop)


def display_or_print(text: object) -> None:
    """As a rich output where a notebook is listening, otherwise printed."""
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()  # type: ignore[no-untyped-call]
        if shell is not None and hasattr(shell, "kernel"):
            display(text)  # type: ignore[no-untyped-call]
            return
    print(text)
