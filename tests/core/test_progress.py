"""Progress: shares told, stopped for good, a bar unless somebody listens."""

from __future__ import annotations

import pytest

from labkit.core import progress as module
from labkit.core.progress import working


def test_shares_are_told_and_never_beyond_the_whole() -> None:
    shares: list[float] = []
    with working("work", 4, progress=shares.append) as work:
        for done in (1, 2.5, 4, 4.0001):
            work.at(done)
    assert shares == [0.25, 0.625, 1.0, 1.0]
    assert work.complete


def test_once_stopped_it_stays_stopped() -> None:
    answers = iter([False, True, False])
    with working("work", 3, should_stop=lambda: next(answers)) as work:
        assert not work.stopped()
        assert work.stopped()
        assert work.stopped()
    assert not work.complete
    with working("work", 3) as work:
        assert not work.stopped()


@pytest.mark.parametrize("unit", ["step", ""])
def test_a_bar_shows_the_same_unless_somebody_listens(unit: str, monkeypatch) -> None:
    bars = []

    class Spy(module.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append(self)

    monkeypatch.setattr(module, "tqdm", Spy)
    with working("work", 4, unit) as work:
        work.at(1)
        work.at(3)
        assert (bars[0].n, bars[0].disable) == (3, False)
    with working("work", 4, unit, progress=lambda share: None):
        assert bars[1].disable
