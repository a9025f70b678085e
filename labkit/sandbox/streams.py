"""Reading from and writing to a worker: framed messages, its output's two ends, how it ended.

All of it comes from a process that ran a stranger's code: sizes are checked before anything is read, and
what is malformed becomes an outcome.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import IO, Any

from labkit.calls.call import Outcome
from labkit.calls.wire import decode

__all__ = [
    "Tail",
    "Messages",
    "feed",
    "outcome_of",
    "writable",
    "how_it_ended",
    "KEPT_OUTPUT",
    "LARGEST_MESSAGE",
]

LARGEST_MESSAGE = 256 << 20
MOST_MESSAGES = 1000
KEPT_OUTPUT = 4000
KINDS = ("ok", "error", "missing", "blocked")  # what a worker may say; the rest the judge sees for itself


class Tail:
    """Drains a stream in a thread and keeps its beginning and its end."""

    def __init__(self, stream: IO[bytes]):
        self.head, self.tail, self.total = b"", b"", 0
        self.thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self.thread.start()

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 1 << 16):
                self.total += len(chunk)
                room = KEPT_OUTPUT // 2 - len(self.head)
                self.head += chunk[:room]
                self.tail = (self.tail + chunk[room:])[-KEPT_OUTPUT // 2 :]

    def text(self) -> str:
        """What was kept, with the number of bytes that were cut."""
        self.thread.join(2)
        lost = self.total - len(self.head) - len(self.tail)
        gap = f"\n... {lost} bytes cut ...\n".encode() if lost > 0 else b""
        return (self.head + gap + self.tail).decode("utf-8", "replace")


class Messages:
    """Reads a worker's messages in a thread; `None` marks the end of the stream, a string a broken one."""

    def __init__(self, stream: IO[bytes]):
        self.queue: queue.Queue[dict[str, Any] | str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            try:
                room = 2 * LARGEST_MESSAGE
                for _ in range(MOST_MESSAGES):
                    head = stream.read(8)
                    if len(head) < 8:
                        break
                    size = int.from_bytes(head, "big")
                    room -= size
                    if size > LARGEST_MESSAGE or room < 0:
                        raise ValueError(f"the result is larger than {LARGEST_MESSAGE >> 20} MB")
                    message = decode(stream.read(size), recipes=False)
                    if not isinstance(message, dict):
                        raise ValueError("the worker's message is not one")
                    self.queue.put(message)
            except (ValueError, MemoryError, OSError) as error:
                self.queue.put(str(error))
        self.queue.put(None)


def feed(fd: int, data: bytes) -> None:
    """Write all of ``data`` and close; a reader that has gone is no error."""
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
    except (BrokenPipeError, OSError):
        return  # the worker has ended; its outcome says so


def outcome_of(message: dict[str, Any]) -> Outcome:
    """A worker's answer as an outcome; what is malformed counts as broken down."""
    kind, words, left = (message.get(key) for key in ("kind", "message", "left"))
    if not (isinstance(kind, str) and isinstance(words, str) and isinstance(left, str)) or kind not in KINDS:
        return Outcome("crashed", message="the worker's answer makes no sense")
    return Outcome(kind, message.get("output"), writable(words[:600]), writable(left[:300]))


def writable(text: str) -> str:
    """A text that every file can take: half a character (a lone surrogate) is written out as its number."""
    return text.encode("utf-8", "backslashreplace").decode()


def how_it_ended(code: int | None) -> str:
    """A sentence on a worker's exit code, None if its keeper is gone too."""
    if code is None:
        return "the process and its keeper were ended from within"
    if code < 0:
        import signal

        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
        cure = " (too much memory or computing time)" if name in ("SIGKILL", "SIGXCPU") else ""
        return f"the process was ended by {name}{cure}"
    return f"the process ended by itself with exit code {code}"
