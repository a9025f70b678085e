"""A job for a worker: one exercise of one submission; what came of it, and the room that it is done in."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.calls.call import Outcome
from labkit.calls.exercise import Case
from labkit.calls.notebook import Step
from labkit.calls.wire import encode

__all__ = ["Job", "Done", "clean_environment", "patience", "package_paths"]


@dataclass(frozen=True)
class Job:
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
                "cell_seconds": self.cell_seconds * patience(),
                "cpu_seconds": int(self.setup_seconds + self.seconds * len(picked)),
                "memory": self.memory,
                "files": dict(self.files),
                "folder": folder,
            }
        )


@dataclass
class Done:
    """What came of a job: an outcome per case, what went wrong before, and the end of its
    output."""

    outcomes: list[Outcome]
    notes: list[str] = field(default_factory=list)
    output: str = ""
    seconds: float = 0.0


def patience() -> float:
    """How much longer than usual to wait because this machine is busy with other things: 1 to 6 times."""
    if not hasattr(os, "getloadavg"):
        return 1.0
    return min(6.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def clean_environment() -> dict[str, str]:
    """What a worker finds in its environment: nothing of the instructor's."""
    needed = {
        key: os.environ[key] for key in ("SYSTEMROOT", "WINDIR", "LD_LIBRARY_PATH") if key in os.environ
    }
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    temporary = tempfile.gettempdir()
    return {
        **needed,
        **dict.fromkeys(threads, "1"),
        "PATH": os.defpath,
        "HOME": temporary,
        "TMPDIR": temporary,
        "MPLCONFIGDIR": temporary,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def package_paths() -> list[str]:
    """Where the packages lie that a worker imports; the folder that holds labkit comes last."""
    import labkit

    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return [*packages, str(Path(labkit.__file__).resolve().parent.parent)]
