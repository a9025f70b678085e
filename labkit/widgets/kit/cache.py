"""The cache of an explorer's answers: computed once, sent to a page once, packed into a saved page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cachetools import LRUCache

__all__ = ["Answer", "Cache", "weight"]

Answer = dict[str, Any]
LIMIT = 96_000_000  # bytes of answers kept in the kernel


def weight(value: Any) -> int:
    """The bytes that an answer holds, however deep.

    >>> weight({"kind": "map", "data": b"1234", "parts": {"a": {"data": b"56"}}})
    6
    """
    if isinstance(value, dict):
        return sum(map(weight, value.values()))
    return len(value) if isinstance(value, bytes) else 0


class Cache:
    """Answers under keys ``(kind, picture, ...)``; beyond ``limit`` bytes the least recently used go.

    ``send``: called with each answer that the page does not have, once, in any thread. At least two answers
    stay, whatever they weigh: the picture on view and what is said of it.

    >>> sent = []
    >>> cache = Cache(sent.append)
    >>> cache.keep(("map", 0), {"kind": "map", "data": b"12"})
    >>> cache.offer(("map", 0)), cache.offer(("map", 0)), len(sent)
    (None, None, 1)
    """

    def __init__(self, send: Callable[[Answer], None], limit: int = LIMIT) -> None:
        self._send = send
        self._kept: LRUCache = LRUCache(limit, getsizeof=lambda answer: min(weight(answer), limit // 2))
        self._order: dict[tuple, None] = {}  # the latest used last
        self._sent: set[tuple] = set()
        self._lock = threading.RLock()

    def __contains__(self, key: tuple) -> bool:
        return key in self._kept

    def get(self, key: tuple) -> Answer | None:
        """The answer, or None where it is not known."""
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: tuple, answer: Answer) -> None:
        """Put an answer in; one that stood under this key is forgotten, and was never sent."""
        with self._lock:
            self._kept[key] = answer
            self._sent.discard(key)
            self._used(key)

    def offer(self, key: tuple) -> None:
        """Mark an answer as used, and send it unless the page has it."""
        with self._lock:
            answer = self._kept[key]
            self._used(key)
            new = key not in self._sent
            self._sent.add(key)
        if new:
            self._send(answer)

    def drop(self, key: tuple) -> None:
        """Forget an answer, if it is known."""
        with self._lock:
            self._kept.pop(key, None)
            self._order.pop(key, None)
            self._sent.discard(key)

    def forget_sent(self) -> None:
        """A page was opened that has nothing yet."""
        with self._lock:
            self._sent.clear()

    def latest(self) -> list[tuple[tuple, Answer]]:
        """Keys and answers, the latest used first; looking at them does not count as use."""
        with self._lock:
            return [(key, self._kept[key]) for key in self._order if key in self._kept][::-1]

    def _used(self, key: tuple) -> None:
        self._order.pop(key, None)
        self._order[key] = None
