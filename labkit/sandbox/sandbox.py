"""The sandbox, from the judge's side: run a submission's function in a worker and take plain bytes back.

Nothing that comes from a worker is trusted: its messages are decoded as data (see `labkit.calls.wire`),
cut at a size, and read under a deadline; what it prints is drained and cut here.
"""

from __future__ import annotations

import atexit
import os
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from labkit.calls.call import Outcome
from labkit.sandbox import walls
from labkit.sandbox.job import Done, Job, patience
from labkit.sandbox.launch import ForkServer, SandboxError, spawn
from labkit.sandbox.streams import Messages, how_it_ended, outcome_of, writable

__all__ = ["Sandbox", "SandboxError", "MODES", "plain_sandbox"]

MODES = ("auto", "strict", "none")
AS_ROOT = (
    "STUDENTS' CODE RUNS AS ROOT, with every right over this machine, because Python lies where only root "
    "can read it: grade as another user, or where namespaces are allowed"
)


class Sandbox:
    """Runs jobs in worker processes. Use as a context manager; safe to call from several threads.

    ``mode``: ``"strict"`` refuses where the system does not allow namespaces, ``"auto"`` then goes on with
    limits only, ``"none"`` does not try. ``hidden``: files and folders that a worker must not see even if
    they lie within the interpreter's folders. ``isolated`` then says whether namespaces hold, and ``report``
    is a sentence on it for the instructor.

    Raises SandboxError for walls that cannot be built, ValueError for another mode.
    """

    def __init__(self, mode: str = "auto", hidden: Iterable[str | Path] = ()):
        from labkit.core.checks import check_choice

        check_choice("sandbox", mode, MODES)
        self.mode, self.hidden = mode, [str(Path(path).resolve()) for path in hidden]
        self.folder = tempfile.mkdtemp(prefix="labkit-worker-")
        self.server: ForkServer | None = None
        self.isolated, self.report = False, ""
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """End the fork server and remove the temporary folders."""
        if self.server is not None:
            self.server.close()
        self.server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        if sys.platform != "linux" or not _can_watch():
            where = "this Linux is older than 5.3" if sys.platform == "linux" else sys.platform
            self.report = (
                f"{where}: each exercise runs in a process of its own with time limits only; there is "
                "no sandbox, so grade submissions you trust, or grade on Linux 5.3 or later."
            )
            if self.mode == "strict":
                raise SandboxError(f"--sandbox strict is not possible on {self.report}")
            return
        why = self._serve(isolated=True) if self.mode != "none" else "it was switched off with --sandbox none"
        if not why:
            self.report = "sandbox: namespaces (no network, own processes, the instructor's files hidden)"
            return
        if self.mode == "strict":
            raise SandboxError(
                f"--sandbox strict needs Linux namespaces: {why}. Allow user namespaces, or use --sandbox "
                "auto, which grades with limits only and says so."
            )
        if failed := self._serve(isolated=False):
            raise SandboxError(f"the worker cannot be started: {failed}")
        self.report = (
            f"no sandbox ({why}): workers have limits on time, memory and processes, but submissions could "
            "read the instructor's files and use the network"
        )
        if self.server is not None and self.server.as_root:
            self.report += f". {AS_ROOT}"

    def _serve(self, isolated: bool) -> str:
        """Start a fork server; the reason if it does not get ready."""
        self.isolated, self.server = isolated, ForkServer(isolated, self.folder, self.hidden)
        return self.server.start()

    def run(self, job: Job) -> Done:
        """Run one exercise of one submission; every case gets an outcome whatever happens.

        After a crash the cases that are left are tried in a fresh process (twice at most); after a timeout
        they are not, so an endless loop costs one case's time.
        """
        outcomes: dict[int, Outcome] = {}
        done, begun = Done([]), time.monotonic()
        for _ in range(3):
            left = [i for i in range(len(job.cases)) if i not in outcomes]
            if not left or any(o.kind == "timeout" for o in outcomes.values()):
                break
            self._attempt(job, left, outcomes, done)
        rest = Outcome("crashed", message="not run: the process broke down")
        if any(outcome.kind == "timeout" for outcome in outcomes.values()):
            rest = Outcome("timeout", message="not run: an earlier case did not come to an end")
        done.outcomes = [outcomes.get(i, rest) for i in range(len(job.cases))]
        done.seconds = time.monotonic() - begun
        return done

    def _attempt(self, job: Job, left: list[int], outcomes: dict[int, Outcome], done: Done) -> None:
        folder = tempfile.mkdtemp(prefix="work-", dir=None if self.server else self.folder)
        try:
            if self.server and not self.isolated:
                os.chmod(folder, 0o711)
            message = job.message(left, folder)
            running = self.server.launch(message) if self.server else spawn(message)
            try:
                heard = _collect(job, left, outcomes, done, running.messages)
            finally:
                code = running.end()
                done.output = running.output.text()
            for index in [i for i, o in outcomes.items() if o.kind == "crashed" and not o.message]:
                if code is None and not heard:  # it never began: someone else's job had ended the server
                    del outcomes[index]
                else:
                    outcomes[index].message = how_it_ended(code)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _collect(job: Job, left: list[int], outcomes: dict[int, Outcome], done: Done, messages: Messages) -> bool:
    """Take messages until the last case, the end of the stream, or a deadline; whether there was any."""
    current, begun, heard = left[0], set(), False
    seconds = job.seconds * patience()
    deadline = time.monotonic() + job.setup_seconds * patience()
    while any(i not in outcomes for i in left):
        try:
            message = messages.queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            words = f"no answer within {seconds:.3g} s: does a loop never end?"
            outcomes[current] = Outcome("timeout", message=words)
            return heard
        if not isinstance(message, dict):
            outcomes[current] = Outcome("crashed", message=message or "")
            return heard
        heard = True
        begin, case = (_index(message.get(key), left) for key in ("begin", "case"))
        if isinstance(message.get("notes"), list):
            done.notes = [writable(str(note)[:500]) for note in message["notes"][:10]]
        elif begin is not None and begin not in begun:
            current = begin
            begun.add(current)
            deadline = time.monotonic() + seconds
        elif case is not None and case not in outcomes:
            outcomes[case] = outcome_of(message)
            deadline = time.monotonic() + seconds
    return heard


def _can_watch() -> bool:
    """Whether the end of a process can be waited for, which the fork server's keepers do."""
    try:
        os.close(walls.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _index(value: object, left: list[int]) -> int | None:
    """A case's number, if that is what a worker has sent; what it sends may be of any kind."""
    return value if isinstance(value, int) and value in left else None


@lru_cache(maxsize=1)
def plain_sandbox() -> Sandbox:
    """A sandbox for one's own code, with limits only, started once per process and closed at its end."""
    box = Sandbox("none")
    atexit.register(box.close)
    return box
