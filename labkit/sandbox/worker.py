"""The worker's processes: a fork server, and for each job a keeper and a runner. It judges nothing.

Started by `labkit.sandbox.launch` as a script of its own, with an isolated interpreter and a clean
environment:

- ``--serve``: a cold fork server. It goes behind the walls, imports torch once, runs no operation (a fork
  after one hangs), and forks a *keeper* per job, which forks the *runner*. The keeper ends the runner, and
  all that it has started, when the judge lets go of the leash.
- ``--once``: one job from standard input, for systems without fork.

It never imports the exercises or anything that computes an answer. Only inputs come in.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import Any

PROCESSES = 48


def _run(job_fd: int, result_fd: int, output_fd: int, settings: dict[str, Any], slot: int) -> None:
    """The runner: the walls, the limits, then the student's code."""
    from labkit.sandbox import walls
    from labkit.sandbox.compute import compute, read_job, sender

    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    for fd in (null, output_fd):
        os.close(fd)
    job = read_job(job_fd)
    rights = settings["isolated"] or (os.geteuid() == 0 and settings["can_drop"])
    if settings["isolated"]:
        job["folder"] = walls.private_folders()
    os.chdir(job["folder"])
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), job["folder"]))
    if rights and not settings["isolated"]:
        os.chown(".", walls.NOBODY + slot % 1000, -1)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out on the whole machine, this one goes first
    except OSError:
        pass
    walls.limit(job["memory"], int(job["cpu_seconds"]) + 1, PROCESSES + settings["threads"])
    if rights:
        walls.give_up_rights(slot)
    compute(job, sender(result_fd))


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def _end_all(known: set[int]) -> None:
    """End and collect every child of this process that is not known, until there is none."""
    for _ in range(200):
        strays = [pid for pid in _children(os.getpid()) if pid not in known]
        if not strays:
            return
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _keep(fds: list[int], settings: dict[str, Any], slot: int) -> None:
    """The keeper: fork the runner, wait for its end or for the leash, end all that is left, say how it
    ended."""
    from labkit.sandbox import walls

    job, result, output, leash, status = fds
    walls.adopt_orphans()  # the runner's become the keeper's children
    if settings["isolated"]:
        walls.begin_runner()
    runner = os.fork()
    if runner == 0:
        code = 1
        try:
            os.close(leash)
            os.close(status)
            _run(job, result, output, settings, slot)
            code = 0
        finally:
            try:
                if code:
                    sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
    for fd in (job, result, output):
        os.close(fd)
    waiting = select.poll()
    waiting.register(leash, select.POLLIN | select.POLLHUP)
    watch = walls.pidfd_open(runner)
    waiting.register(watch, select.POLLIN)
    if not any(fd == watch for fd, _ in waiting.poll()):
        os.kill(runner, signal.SIGKILL)
    _, ended = os.waitpid(runner, 0)
    _end_all(set())
    os.write(status, json.dumps(os.waitstatus_to_exitcode(ended)).encode())


def serve(control_fd: int, settings: dict[str, Any]) -> None:
    """The fork server: one fork per job, nothing of a job stays."""
    import socket

    from labkit.sandbox import walls

    control = socket.socket(fileno=control_fd)
    settings["can_drop"] = True
    try:
        if settings["isolated"]:
            walls.enter(settings["new_root"], settings["shown"], settings["hidden"])
        else:
            walls.die_with_parent()
            walls.adopt_orphans()
        import torch

        import labkit.calls.call
        import labkit.calls.guard
        import labkit.calls.wire
        import labkit.sandbox.compute  # noqa: F401
    except (walls.IsolationError, ImportError, OSError) as error:
        control.sendall(json.dumps({"ready": False, "why": str(error)}).encode())
        return
    needed = {part for file in (torch.__file__, os.__file__, __file__) for part in _folders(file)}
    open_to_all = all(os.stat(part).st_mode & 1 for part in needed)
    settings["can_drop"] = settings["isolated"] or open_to_all
    as_root = os.geteuid() == 0 and not settings["can_drop"]
    control.sendall(json.dumps({"ready": True, "torch": torch.__version__, "as_root": as_root}).encode())
    control.settimeout(0.5)
    keepers: set[int] = set()
    slot = 0
    while True:
        try:
            message, fds, _, _ = socket.recv_fds(control, 16, 5)
        except TimeoutError:
            message = b"tick"
        if not message:
            return
        if message == b"job":
            slot += 1
            keeper = os.fork()
            if keeper == 0:
                try:
                    control.close()
                    _keep(fds, settings, slot)
                finally:
                    os._exit(0)
            keepers.add(keeper)
            for fd in fds:
                os.close(fd)
        keepers -= {pid for pid in set(keepers) if os.waitpid(pid, os.WNOHANG)[0]}
        _end_all(keepers)


def _folders(path: str) -> list[str]:
    found = []
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        found.append(path)
    return found


def once() -> None:
    """One job from standard input, its outcomes to standard output; prints go to standard error."""
    from labkit.sandbox.compute import compute, read_job, sender

    result = os.dup(1)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for fd in (0, result):
            msvcrt.setmode(fd, os.O_BINARY)
    job = read_job(os.dup(0))
    os.chdir(job["folder"])
    if sys.platform != "win32":
        from labkit.sandbox import walls

        walls.limit(job["memory"], int(job["cpu_seconds"]) + 1, 4096)
    compute(job, sender(result))


def main() -> None:
    """Read the settings from the command line, as the judge writes them."""
    settings = json.loads(sys.argv[2])
    sys.path += [path for path in settings["paths"] if path not in sys.path]
    if sys.argv[1] == "--serve":
        serve(settings["control"], settings)
        sys.stderr.flush()
        os._exit(0)  # a tidy end would take torch apart first, and the judge waits for it
    else:
        once()


if __name__ == "__main__":
    main()
