"""The walls around a worker on Linux: namespaces where the system allows them, limits everywhere.

Runs on the worker's side, before any student's code. With namespaces a worker has no network, its own process
numbers, and a file system that holds the interpreter, its packages and an empty temporary folder: nothing of
the instructor's is in it. Root is given up for a user that owns nothing; anyone else works in a user
namespace and gives up its rights there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "IsolationError",
    "enter",
    "begin_runner",
    "private_folders",
    "limit",
    "give_up_rights",
    "die_with_parent",
    "adopt_orphans",
    "pidfd_open",
]

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
KEPT = {2: NOSUID, 4: NODEV, 8: NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # statvfs flag -> mount flag
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "riscv64": 41, "s390x": 217}
PIDFD_OPEN = 434  # the same on every machine that PIVOT_ROOT knows
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives",
          "/etc/localtime", "/sys/devices/system/cpu", "/nix/store")  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SCRATCH = "/scratch"
NOBODY = 61000  # the first of the user numbers given to workers when the grader runs as root


class IsolationError(RuntimeError):
    """The system does not allow a wall; the message says which."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result != 0:
        raise IsolationError(f"{what} is not allowed here: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done = _libc().mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _call(f"mounting {kind or source} on {target}", done)


def _bind(source: str, target: str) -> None:
    """A read-only view of ``source`` at ``target``."""
    path = Path(target)
    if os.path.isdir(source):
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    _mount(source, target, "", BIND | REC)
    held = os.statvfs(target).f_flag
    flags = sum(mount for flag, mount in KEPT.items() if held & flag)
    _mount(source, target, "", BIND | REMOUNT | RDONLY | NOSUID | flags)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends."""
    _libc().prctl(1, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Ask the kernel that the children of this process's children become its own when their parents end."""
    _libc().prctl(36, 1, 0, 0, 0)


def pidfd_open(pid: int) -> int:
    """A file descriptor that can be read when a process has ended. Raises OSError where there is none.

    By the system call (Linux 5.3): Pythons that were built on an older system, as conda's and uv's are, have
    no ``os.pidfd_open``.
    """
    fd = _libc().syscall(PIDFD_OPEN, pid, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(fd)


def _unshare() -> None:
    """New mount, network, process and message namespaces, through a user namespace if not root."""
    flags, libc = NEWNS | NEWNET | NEWPID | NEWIPC, _libc()
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and libc.unshare(flags) == 0:
        return
    _call("a namespace of its own", libc.unshare(flags | NEWUSER))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        raise IsolationError(f"a user namespace is not allowed here: {error.strerror}") from None


def _new_root(root: str, shown: Iterable[str], hidden: Iterable[str]) -> None:
    _mount("", "/", "", REC | PRIVATE)
    _mount("labkit", root, "tmpfs", NOSUID | NODEV, "mode=755,size=64m")
    done: list[str] = []
    for path in [*SYSTEM, *shown]:
        if not os.path.exists(path) or any(path == d or path.startswith(d + "/") for d in done):
            continue
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        else:
            _bind(path, root + path)
        done.append(path)
    for path in DEVICES:
        Path(root + path).parent.mkdir(exist_ok=True)
        Path(root + path).touch()
        _mount(path, root + path, "", BIND)
    for path in hidden:
        if os.path.isdir(root + path):
            _mount("labkit", root + path, "tmpfs", NOSUID | NODEV | RDONLY, "mode=000,size=4k")
        elif os.path.exists(root + path):
            _mount("/dev/null", root + path, "", BIND)
    for path in ("/tmp", "/proc", "/dev/shm", SCRATCH):
        Path(root + path).mkdir(parents=True, exist_ok=True)
    _mount("proc", root + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir(root)
    number = PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise IsolationError(f"a root of its own is not known for {platform.machine()}")
    _call("a root of its own", _libc().syscall(number, b".", b"."))
    _call("leaving the old root", _libc().umount2(b".", 2))
    os.chdir("/")
    _mount("", "/", "", BIND | REMOUNT | RDONLY | NOSUID | NODEV)


def enter(root: str, shown: Iterable[str], hidden: Iterable[str]) -> None:
    """Go behind the walls for good: returns in a child that is process 1 of its own process space.

    ``root``: an empty folder made by the caller; nothing is ever written to the disk beneath it.
    ``shown``: what the interpreter needs beside the system's own folders; read-only.
    ``hidden``: what must not be seen even if it lies beneath something shown.

    Raises IsolationError where the system does not allow it.
    """
    _unshare()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    die_with_parent()
    _new_root(root, shown, hidden)


def begin_runner() -> None:
    """In the process that will hold one submission: process and mount spaces for its children."""
    _call("a process space of its own", _libc().unshare(NEWNS | NEWPID))


def private_folders() -> str:
    """In a submission's first process: its own view of processes; gives an empty temporary folder of its
    own."""
    _mount("", "/", "", REC | PRIVATE)
    _mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    # what the interpreter needs may lie beneath /tmp: then /tmp stays as it is, and is read-only
    for path in (SCRATCH, "/dev/shm", *(() if os.listdir("/tmp") else ("/tmp",))):
        _mount("labkit", path, "tmpfs", NOSUID | NODEV, "mode=1777,size=256m")
    return SCRATCH


def limit(memory: int, cpu_seconds: int, processes: int) -> None:
    """Set the limits of this process and its children (memory in bytes of address space)."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    wanted = processes if most == resource.RLIM_INFINITY else min(processes, most)
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 64 << 20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, wanted),
    ):
        if sys.platform == "darwin" and what == resource.RLIMIT_AS:
            continue  # macOS does not keep it
        resource.setrlimit(what, (value, value))


def threads_of(uid: int) -> int:
    """How many threads a user runs already: the process limit counts them all."""
    count = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid == uid:
                count += len(os.listdir(path / "task"))
        except OSError:
            continue
    return count


def give_up_rights(slot: int) -> None:
    """Root becomes a user that owns nothing; rights held in a user namespace are dropped. No way back."""
    libc = _libc()
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    if os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[2] != "1":
        uid = NOBODY + slot % 1000
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    else:
        for right in range(64):
            libc.prctl(24, right, 0, 0, 0)  # the bounding set
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    libc.prctl(4, 1, 0, 0, 0)  # its own /proc entries stay readable to itself
