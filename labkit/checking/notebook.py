"""``labkit check notebook.ipynb``: the public cases in a clean process, and what no clean run would give."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from labkit.calls.call import Outcome
from labkit.calls.exercise import Exercise
from labkit.calls.notebook import WORDS_HERE, Notebook, notebook_name, read_notebook, stale_state
from labkit.checking.check import CheckText
from labkit.checking.judge import UNREADABLE, ExerciseResult, Judge, not_written
from labkit.exercises import notebooks
from labkit.sandbox.job import Job
from labkit.sandbox.sandbox import SandboxError, plain_sandbox

__all__ = ["check_notebook", "NotebookReport"]

PREDICTION = re.compile(r"^\s*lab\.predict\((.*),\s*\.\.\.\s*\)", re.MULTILINE)  # `Lab.predict` with its dots


@dataclass
class NotebookReport:
    """What `check_notebook` found: a result per exercise and what a clean run would stumble over."""

    notebook: str
    results: list[ExerciseResult]
    stale: list[str]
    signed: list[Outcome] = field(default_factory=list)  # of exercises that hand back the student's id

    @property
    def passed(self) -> bool:
        """Whether every public case of every exercise passes."""
        return all(result.passed == len(result.cases) for result in self.results)

    @property
    def summary(self) -> dict[str, str]:
        """``{"attribution.saliency": "3/3"}``."""
        return {result.id: f"{result.passed}/{len(result.cases)}" for result in self.results}

    @property
    def missing(self) -> list[str]:
        """What to know before handing in, a line each: what is not written, wrong, or out of order."""

        def named(*words: str) -> str:
            return ", ".join(r.id.rpartition(".")[2] for r in self.results if r.word in words)

        known = {"missing": "not written yet", UNREADABLE: "Python cannot read its cell", "error": "an error"}
        wrong = {r.word for r in self.results} - {"right", *known}
        told = {what: named(word) for word, what in known.items()} | {"not right": named(*wrong)}
        return [f"{what}: {names}" for what, names in told.items() if names] + self.stale

    def __str__(self) -> str:
        blocks = [f"{result.title} ({result.id})\n{CheckText(result)}" for result in self.results]
        return "\n\n".join([*blocks, "\n".join(f"Note: {line}" for line in self.stale)]).rstrip()


def check_notebook(path: str | Path, exercises: Sequence[Exercise] | None = None) -> NotebookReport:
    """Run the public cases of a notebook's exercises in a clean process.

    The notebook's name tells which exercises it holds, where none are given; a renamed one is told by its
    functions. The report's ``str`` is what ``labkit check`` prints; it also points out cells that were run
    out of order, definitions that stand there twice, and names that only a later cell defines.

    Raises ValueError for a file that is not a notebook or holds no exercise.
    """
    book = read_notebook(path)
    starting = threading.Thread(target=_start, daemon=True)  # it imports torch, and so does this process
    starting.start()
    asked = list(exercises) if exercises is not None else _exercises_of(Path(path).name, book)
    blocks = sorted({name for exercise in asked for name in exercise.blocks})
    results, signed = [], list[Outcome]()
    files = {p.name: p.read_text("utf-8", "replace") for p in sorted(Path(path).parent.glob("*.py"))}
    for exercise in asked:
        judge = Judge(exercise)
        if not book.defines(exercise.name):
            missing = [Outcome("missing", message=f"no cell defines {exercise.name}")] * len(judge.cases)
            results.append(judge.result(not_written(exercise.name, [book], missing)))
            continue
        cases = [case for _, case in judge.cases]
        steps = book.slice(exercise.name)
        starting.join()
        work = Job(exercise.name, steps, cases, blocks, exercise.seconds, files=files)
        done = plain_sandbox().run(work)
        result = judge.result(not_written(exercise.name, [book], done.outcomes))
        result.notes += done.notes
        signed += done.outcomes if exercise.signed else []
        results.append(result)
    notes = [*stale_state(book, [e.name for e in asked]), *_unwritten(path)]
    return NotebookReport(Path(path).name, results, notes, signed)


def _start() -> None:
    """Start the sandbox; why it does not start is said where it is used."""
    with suppress(SandboxError):
        plain_sandbox()


def _unwritten(path: str | Path) -> list[str]:
    """A sentence if answers in words still hold their placeholder."""
    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    count = sum(WORDS_HERE in text for text in texts)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    guesses = [name.strip() for text in code for name in PREDICTION.findall(text)]
    said = [f"{count} answer(s) in words still say {WORDS_HERE!r}"] if count else []
    return said + ([f"not predicted yet: {', '.join(guesses)}"] if guesses else [])


def _exercises_of(filename: str, book: Notebook) -> list[Exercise]:
    known = notebooks()
    name = notebook_name(filename, known)
    if name is None:
        counts = {n: sum(book.defines(e.name) for e in asked) for n, asked in known.items()}
        name = max(counts, key=lambda n: counts[n]) if any(counts.values()) else None
    if name is None:
        raise ValueError(
            f"no exercise belongs to {filename}: neither its name nor a function in it is known. "
            f"The notebooks with exercises are {', '.join(known)}."
        )
    return list(known[name])
