"""The judge's side of a worker: start it, feed it, read plain bytes back, end it.

Nothing that comes from a worker is trusted: its messages are decoded as data (see `labkit.calls.wire`),
cut at a size, and read under a deadline; what it prints is drained and cut here.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.calls.call import Outcome
from labkit.sandbox.job import Done, Work, clean_environment, package_paths, patience
from labkit.sandbox.streams import Messages, Tail, feed, how_it_ended, outcome_of

__all__ = ["Sandbox", "SandboxError", "Work", "Done", "MODES", "plain_sandbox"]

MODES = ("auto", "strict", "none")
START_SECONDS = 120.0  # for importing torch on a slow disk


class SandboxError(RuntimeError):
    """The walls that were asked for cannot be built, or the worker cannot be started."""


class Sandbox:
    """Runs work in worker processes. Use as a context manager; safe to call from several threads.

    Parameters
    ----------
    mode : ``"strict"`` refuses (SandboxError) where the system does not allow namespaces, ``"auto"`` then
        goes on with limits only, ``"none"`` does not try.
    hidden : files and folders that a worker must not see even if they lie within the interpreter's folders.

    Attributes: `isolated` says whether namespaces hold; `report` is a sentence for the instructor.
    """

    def __init__(self, mode: str = "auto", hidden: Iterable[str | Path] = ()):
        from labkit.core.checks import check_choice

        check_choice("sandbox", mode, MODES)
        self.mode, self.hidden = mode, [str(Path(path).resolve()) for path in hidden]
        self.lock = threading.Lock()
        self.folder = tempfile.mkdtemp(prefix="labkit-worker-")
        self.isolated = mode != "none" and sys.platform == "linux"
        self.serving = sys.platform == "linux" and hasattr(os, "pidfd_open")
        self.report = ""
        self.control: socket.socket | None = None
        self.server: subprocess.Popen[bytes] | None = None
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
        if self.control is not None:
            self.control.close()
        if self.server is not None:
            try:
                self.server.wait(5)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        self.control = self.server = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        if not self.serving:
            self.isolated = False
            self.report = (
                f"{sys.platform}: each exercise runs in a process of its own with time limits only; there is "
                "no sandbox, so grade submissions you trust, or grade on Linux."
            )
            if self.mode == "strict":
                raise SandboxError(f"--sandbox strict is not possible on {self.report}")
            return
        why = self._start() if self.isolated else "it was switched off with --sandbox none"
        if not why:
            self.report = "sandbox: namespaces (no network, own processes, the instructor's files hidden)"
            return
        if self.mode == "strict":
            raise SandboxError(
                f"--sandbox strict needs Linux namespaces: {why}. Allow user namespaces, or use --sandbox "
                "auto, which grades with limits only and says so."
            )
        self.isolated = False
        if failed := self._start():
            raise SandboxError(f"the worker cannot be started: {failed}")
        self.report = (
            f"no sandbox ({why}): workers have limits on time, memory and processes, but submissions could "
            "read the instructor's files and use the network"
        )

    def _settings(self) -> dict[str, Any]:
        from labkit.sandbox.walls import threads_of

        paths = package_paths()
        home = str(Path(sys.executable).resolve().parent.parent)
        shown = {sys.base_prefix, sys.prefix, home, *paths[:-1], str(Path(paths[-1]) / "labkit")}
        return {
            "isolated": self.isolated,
            "paths": paths,
            "shown": sorted(path for path in shown if path != "/"),
            "hidden": self.hidden if self.isolated else [],
            "new_root": self.folder,
            "threads": threads_of(os.geteuid()) if os.geteuid() else 0,
        }

    def _start(self) -> str:
        """Start the fork server; the reason if it does not get ready."""
        ours, theirs = socket.socketpair()
        settings = {**self._settings(), "control": theirs.fileno()}
        script = str(Path(__file__).with_name("worker.py"))
        self.server = subprocess.Popen(
            [sys.executable, "-I", "-B", script, "--serve", json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        errors = Tail(self.server.stderr)  # type: ignore[arg-type]
        theirs.close()
        ours.settimeout(START_SECONDS)
        try:
            answer = json.loads(ours.recv(65536) or b'{"ready": false}')
        except (TimeoutError, OSError, ValueError) as error:
            answer = {"ready": False, "why": str(error)}
        if answer.get("ready"):
            ours.settimeout(10)
            self.control = ours
            return ""
        ours.close()
        self.server.kill()
        self.server.wait()
        lines = errors.text().strip().splitlines()
        return answer.get("why") or (lines[-1] if lines else "it ended before it was ready")

    def run(self, work: Work) -> Done:
        """Run one exercise of one submission; every case gets an outcome whatever happens.

        After a crash the cases that are left are tried in a fresh process (twice at most); after a timeout
        they are not, so an endless loop costs one case's time.
        """
        outcomes: dict[int, Outcome] = {}
        done, begun = Done([]), time.monotonic()
        for _ in range(3):
            left = [i for i in range(len(work.cases)) if i not in outcomes]
            if not left or any(o.kind == "timeout" for o in outcomes.values()):
                break
            self._attempt(work, left, outcomes, done)
        rest = Outcome("crashed", message="not run: the process broke down")
        if any(outcome.kind == "timeout" for outcome in outcomes.values()):
            rest = Outcome("timeout", message="not run: an earlier case did not come to an end")
        done.outcomes = [outcomes.get(i, rest) for i in range(len(work.cases))]
        done.seconds = time.monotonic() - begun
        return done

    def _attempt(self, work: Work, left: list[int], outcomes: dict[int, Outcome], done: Done) -> None:
        folder = tempfile.mkdtemp(prefix="work-", dir=None if self.serving else self.folder)
        try:
            if self.serving and not self.isolated:
                os.chmod(folder, 0o711)
            launch = self._launch if self.serving else self._spawn
            messages, tail, end = launch(work.message(left, folder))
            try:
                self._collect(work, left, outcomes, done, messages)
            finally:
                how = end()
                done.output = tail.text()
            for outcome in outcomes.values():
                if outcome.kind == "crashed" and not outcome.message:
                    outcome.message = how_it_ended(how)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _collect(
        self, work: Work, left: list[int], outcomes: dict[int, Outcome], done: Done, messages: Messages
    ) -> None:
        """Take messages until the last case, the end of the stream, or a deadline."""
        current, begun = left[0], set()
        seconds = work.seconds * patience()
        deadline = time.monotonic() + work.setup_seconds * patience()
        while any(i not in outcomes for i in left):
            try:
                message = messages.queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                words = f"no answer within {seconds:.3g} s: does a loop never end?"
                outcomes[current] = Outcome("timeout", message=words)
                return
            if not isinstance(message, dict):
                outcomes[current] = Outcome("crashed", message=message or "")
                return
            if isinstance(message.get("notes"), list):
                done.notes = [str(note)[:500] for note in message["notes"][:10]]
            elif message.get("begin") in left and message["begin"] not in begun:
                current = message["begin"]
                begun.add(current)
                deadline = time.monotonic() + seconds
            elif message.get("case") in left and message["case"] not in outcomes:
                outcomes[message["case"]] = outcome_of(message)
                deadline = time.monotonic() + seconds

    def _launch(self, data: bytes) -> tuple[Messages, Tail, Any]:
        """Hand a job to the fork server; gives the readers and what ends it."""
        ends = [os.pipe() for _ in range(5)]
        (
            (job_r, job_w),
            (result_r, result_w),
            (output_r, output_w),
            (leash_r, leash_w),
            (status_r, status_w),
        ) = ends
        theirs = [job_r, result_w, output_w, leash_r, status_w]
        try:
            with self.lock:
                for attempt in range(2):
                    try:
                        if self.control is None:
                            raise OSError("the fork server is not running")
                        socket.send_fds(self.control, [b"job"], theirs)
                        break
                    except OSError as error:
                        if attempt or self._restart():
                            raise SandboxError(f"the fork server is gone: {error}") from None
        finally:
            for fd in theirs:
                os.close(fd)
        threading.Thread(target=feed, args=(job_w, data), daemon=True).start()
        messages, tail = Messages(os.fdopen(result_r, "rb")), Tail(os.fdopen(output_r, "rb"))

        def end() -> int | None:
            os.close(leash_w)
            with os.fdopen(status_r, "rb") as stream:
                said = stream.read(64)
            return int(said) if said else None

        return messages, tail, end

    def _restart(self) -> str:
        """A new fork server for one that is gone."""
        if self.control is not None:
            self.control.close()
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        return self._start()

    def _spawn(self, data: bytes) -> tuple[Messages, Tail, Any]:
        """One interpreter per job, for systems without fork."""
        settings = {"paths": package_paths()}
        script = str(Path(__file__).with_name("worker.py"))
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", script, "--once", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=True,
        )
        threading.Thread(target=feed, args=(os.dup(process.stdin.fileno()), data), daemon=True).start()  # type: ignore[union-attr]
        process.stdin.close()  # type: ignore[union-attr]
        messages, tail = Messages(process.stdout), Tail(process.stderr)  # type: ignore[arg-type]

        def end() -> int:
            process.kill()
            return process.wait()

        return messages, tail, end


@lru_cache(maxsize=1)
def plain_sandbox() -> Sandbox:
    """A sandbox for one's own code, with limits only, started once per process and closed at its end."""
    box = Sandbox("none")
    atexit.register(box.close)
    return box
