"""The judge's side of a worker: start it, feed it, read plain bytes back, end it.

Nothing that comes from a worker is trusted: its messages are decoded as data (see `labkit.grading.build`),
cut at a size, and read under a deadline; what it prints is drained and cut here.
"""

from __future__ import annotations

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from labkit.grading.build import Outcome, decode, encode
from labkit.grading.exercise import Case
from labkit.grading.notebook import Step

__all__ = ["Sandbox", "SandboxError", "Work", "Done", "MODES"]

MODES = ("auto", "strict", "none")
LARGEST_MESSAGE = 256 << 20
KEPT_OUTPUT = 4000
START_SECONDS = 120.0  # for importing torch on a slow disk


class SandboxError(RuntimeError):
    """The walls that were asked for cannot be built, or the worker cannot be started."""


@dataclass(frozen=True)
class Work:
    """One exercise of one submission, as the worker gets it."""

    name: str
    steps: Sequence[Step]
    cases: Sequence[Case]
    blocks: Sequence[str] = ()
    seconds: float = 10.0
    cell_seconds: float = 10.0
    setup_seconds: float = 30.0
    memory: int = 8 << 30
    files: Mapping[str, str] = field(default_factory=dict)

    def message(self, indices: Iterable[int], folder: str) -> bytes:
        """The bytes for the worker: code, inputs and limits, nothing else."""
        picked = list(indices)
        cases = [
            (i, {"args": case.args, "kwargs": dict(case.kwargs), "probe": case.probe})
            for i, case in ((i, self.cases[i]) for i in picked)
        ]
        return encode(
            {
                "name": self.name,
                "steps": [(step.cell, step.source) for step in self.steps],
                "cases": cases,
                "blocks": list(self.blocks),
                "cell_seconds": self.cell_seconds,
                "cpu_seconds": int(self.setup_seconds + self.seconds * len(picked)),
                "memory": self.memory,
                "files": dict(self.files),
                "folder": folder,
            }
        )


@dataclass
class Done:
    """What came of a piece of work: an outcome per case, what went wrong before, and the end of its
    output."""

    outcomes: list[Outcome]
    notes: list[str] = field(default_factory=list)
    output: str = ""
    seconds: float = 0.0


def _environment() -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("SYSTEMROOT", "WINDIR", "LD_LIBRARY_PATH") if key in os.environ}
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    temporary = tempfile.gettempdir()
    return {
        **kept,
        **dict.fromkeys(threads, "1"),
        "PATH": os.defpath,
        "HOME": temporary,
        "TMPDIR": temporary,
        "MPLCONFIGDIR": temporary,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


class _Tail:
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
        self.thread.join(2)
        lost = self.total - len(self.head) - len(self.tail)
        gap = f"\n... {lost} bytes cut ...\n".encode() if lost > 0 else b""
        return (self.head + gap + self.tail).decode("utf-8", "replace")


class _Messages:
    """Reads a worker's messages in a thread; `None` marks the end of the stream, a string a broken one."""

    def __init__(self, stream: IO[bytes]):
        self.queue: queue.Queue[dict[str, Any] | str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            try:
                while len(head := stream.read(8)) == 8:
                    size = int.from_bytes(head, "big")
                    if size > LARGEST_MESSAGE:
                        raise ValueError(f"the result is larger than {LARGEST_MESSAGE >> 20} MB")
                    message = decode(stream.read(size))
                    if not isinstance(message, dict):
                        raise ValueError("the worker's message is not one")
                    self.queue.put(message)
            except (ValueError, MemoryError, OSError) as error:
                self.queue.put(str(error))
        self.queue.put(None)


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
        from labkit._checks import check_choice

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
        failed = self._start()
        if failed:
            raise SandboxError(f"the worker cannot be started: {failed}")
        self.report = (
            f"no sandbox ({why}): workers have limits on time, memory and processes, but submissions could "
            "read the instructor's files and use the network"
        )

    def _settings(self) -> dict[str, Any]:
        import labkit

        package = Path(labkit.__file__).resolve().parent
        shown = {sys.base_prefix, sys.prefix, str(Path(sys.executable).resolve().parent.parent), str(package)}
        packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        from labkit.grading.isolate import threads_of

        return {
            "isolated": self.isolated,
            "paths": [*packages, str(package.parent)],
            "shown": sorted(path for path in shown.union(packages) if path != "/"),
            "hidden": self.hidden,
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
            env=_environment(),
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        errors = _Tail(self.server.stderr)  # type: ignore[arg-type]
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
        stopped = "timeout" if any(o.kind == "timeout" for o in outcomes.values()) else "crashed"
        rest = Outcome(stopped, message="not run: an earlier case did not come to an end")
        if stopped == "crashed":
            rest = Outcome(stopped, message="not run: the process broke down")
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
                    outcome.message = _how_it_ended(how)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _collect(
        self, work: Work, left: list[int], outcomes: dict[int, Outcome], done: Done, messages: _Messages
    ) -> None:
        """Take messages until the last case, the end of the stream, or a deadline."""
        current = left[0]
        deadline = time.monotonic() + work.setup_seconds
        while any(i not in outcomes for i in left):
            try:
                message = messages.queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                words = f"no answer within {work.seconds:g} s: does a loop never end?"
                outcomes[current] = Outcome("timeout", message=words)
                return
            if not isinstance(message, dict):
                outcomes[current] = Outcome("crashed", message=message or "")
                return
            if isinstance(message.get("notes"), list):
                done.notes = [str(note)[:500] for note in message["notes"][:10]]
            elif message.get("begin") in left:
                current = message["begin"]
                deadline = time.monotonic() + work.seconds
            elif message.get("case") in left and message["case"] not in outcomes:
                outcomes[message["case"]] = _outcome(message)
                deadline = time.monotonic() + work.seconds

    def _launch(self, data: bytes) -> tuple[_Messages, _Tail, Any]:
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
        threading.Thread(target=_feed, args=(job_w, data), daemon=True).start()
        messages, tail = _Messages(os.fdopen(result_r, "rb")), _Tail(os.fdopen(output_r, "rb"))

        def end() -> int | None:
            os.close(leash_w)
            with os.fdopen(status_r, "rb") as stream:
                said = stream.read(64)
            return int(said) if said else None

        return messages, tail, end

    def _restart(self) -> str:
        if self.control is not None:
            self.control.close()
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        return self._start()

    def _spawn(self, data: bytes) -> tuple[_Messages, _Tail, Any]:
        """One interpreter per job, for systems without fork."""
        settings = {"paths": self._settings()["paths"]}
        script = str(Path(__file__).with_name("worker.py"))
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", script, "--once", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        threading.Thread(target=_feed, args=(os.dup(process.stdin.fileno()), data), daemon=True).start()  # type: ignore[union-attr]
        process.stdin.close()  # type: ignore[union-attr]
        messages, tail = _Messages(process.stdout), _Tail(process.stderr)  # type: ignore[arg-type]

        def end() -> int:
            process.kill()
            return process.wait()

        return messages, tail, end


def _feed(fd: int, data: bytes) -> None:
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
    except (BrokenPipeError, OSError):
        return  # the worker has ended; its outcome says so


def _outcome(message: dict[str, Any]) -> Outcome:
    """A worker's answer as an outcome; what is malformed counts as broken down."""
    kind, said, left = (message.get(key) for key in ("kind", "message", "left"))
    kinds = ("ok", "error", "missing", "blocked")
    if kind not in kinds or not isinstance(said, str) or not isinstance(left, str):
        return Outcome("crashed", message="the worker's answer makes no sense")
    return Outcome(str(kind), message.get("output"), said[:600], left[:300])


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "the process and its keeper were ended from within"
    if code < 0:
        import signal

        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
        cure = " (too much memory or computing time)" if name in ("SIGKILL", "SIGXCPU") else ""
        return f"the process was ended by {name}{cure}"
    return f"the process ended by itself with exit code {code}"
