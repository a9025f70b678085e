"""Starting workers, from the judge's side: one fork server, or an interpreter for each job without fork.

Both give the same: a reader of the worker's messages, a reader of what it prints, and what ends it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from labkit.sandbox.job import clean_environment, package_paths
from labkit.sandbox.streams import Messages, Tail, feed

__all__ = ["ForkServer", "Running", "SandboxError", "spawn"]

START_SECONDS = 120.0  # for importing torch on a slow disk
WORKER = str(Path(__file__).with_name("worker.py"))
CLOSED = ("exercises", "checking", "grading")  # parts of labkit that a worker has no use for


class SandboxError(RuntimeError):
    """The walls that were asked for cannot be built, or the worker cannot be started."""


class Running(NamedTuple):
    """A job under way; ``end`` ends its process and gives the exit code, None if that is not known."""

    messages: Messages
    output: Tail
    end: Callable[[], int | None]


class ForkServer:
    """A process that has imported torch and forks a worker per job, behind the walls if ``isolated``.

    ``folder``: an empty one, the root of its file system behind the walls; ``hidden``: files and folders that
    must not be seen there. Nothing runs before `start`.
    """

    def __init__(self, isolated: bool, folder: str, hidden: Iterable[str]):
        self.isolated, self.folder, self.hidden = isolated, folder, list(hidden)
        self.lock = threading.Lock()
        self.control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.as_root = False  # whether students' code keeps root's rights

    def _settings(self) -> dict[str, Any]:
        from labkit.sandbox.walls import threads_of

        paths = package_paths()
        home = str(Path(sys.executable).resolve().parent.parent)
        kit = Path(paths[-1]) / "labkit"
        shown = {sys.base_prefix, sys.prefix, home, *paths[:-1], str(kit)}
        hidden = [*self.hidden, *(str(kit / part) for part in CLOSED)]
        return {
            "isolated": self.isolated,
            "paths": paths,
            "shown": sorted(path for path in shown if path != "/"),
            "hidden": hidden if self.isolated else [],
            "new_root": self.folder,
            "threads": threads_of(os.geteuid()) if os.geteuid() else 0,
        }

    def start(self) -> str:
        """Start it and wait until it is ready; the reason if it does not get so far."""
        ours, theirs = socket.socketpair()
        settings = {**self._settings(), "control": theirs.fileno()}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", WORKER, "--serve", json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        errors = Tail(self.process.stderr)  # type: ignore[arg-type]
        theirs.close()
        ours.settimeout(START_SECONDS)
        try:
            answer = json.loads(ours.recv(65536) or b'{"ready": false}')
        except (TimeoutError, OSError, ValueError) as error:
            answer = {"ready": False, "why": str(error)}
        if answer.get("ready"):
            ours.settimeout(10)
            self.as_root = bool(answer.get("as_root"))
            self.control = ours
            return ""
        ours.close()
        self._kill()
        lines = errors.text().strip().splitlines()
        return answer.get("why") or (lines[-1] if lines else "it ended before it was ready")

    def _kill(self) -> None:
        if self.control is not None:
            self.control.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Let it end, with all that it has started."""
        if self.control is not None:
            self.control.close()
        if self.process is not None:
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self._kill()
        self.control = self.process = None

    def launch(self, data: bytes) -> Running:
        """Hand a job to the server; one that is gone is started anew. Raises SandboxError if that fails."""
        pipes = [os.pipe() for _ in range(5)]
        (job_r, job_w), (result_r, result_w), (output_r, output_w) = pipes[:3]
        (leash_r, leash_w), (status_r, status_w) = pipes[3:]
        theirs = [job_r, result_w, output_w, leash_r, status_w]
        try:
            self._send(theirs)
        except BaseException:
            for fd in (job_w, result_r, output_r, leash_w, status_r):
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        threading.Thread(target=feed, args=(job_w, data), daemon=True).start()

        def end() -> int | None:
            os.close(leash_w)
            with os.fdopen(status_r, "rb") as stream:
                code = stream.read(64)
            return int(code) if code else None

        return Running(Messages(os.fdopen(result_r, "rb")), Tail(os.fdopen(output_r, "rb")), end)

    def _send(self, fds: list[int]) -> None:
        with self.lock:
            for attempt in range(2):
                try:
                    if self.control is None:
                        raise OSError("the fork server is not running")
                    socket.send_fds(self.control, [b"job"], fds)
                    return
                except OSError as error:
                    if not attempt:
                        self._kill()
                    if attempt or self.start():
                        raise SandboxError(f"the fork server is gone: {error}") from None


def spawn(data: bytes) -> Running:
    """One interpreter for one job, for systems without fork."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", WORKER, "--once", json.dumps({"paths": package_paths()})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        start_new_session=True,
    )
    job = os.dup(process.stdin.fileno())  # type: ignore[union-attr]
    process.stdin.close()  # type: ignore[union-attr]
    threading.Thread(target=feed, args=(job, data), daemon=True).start()

    def end() -> int:
        process.kill()
        return process.wait()

    return Running(Messages(process.stdout), Tail(process.stderr), end)  # type: ignore[arg-type]
