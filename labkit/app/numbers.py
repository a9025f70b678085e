"""``labkit claims`` and ``labkit scoreboard``: what was measured, what of it is stale, every number again.

Each claim is measured in a process of its own, on one thread, by its experiment with the exercises' reference
answers; what is there is in the ledger at once, so that a run that was stopped goes on.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from labkit.ledger.claims import Entry, Number

Say = Callable[[str], None]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def claims(
    ids: Annotated[list[str] | None, typer.Argument(help="Claims, such as A12 (default: all).")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only those that are stale, and why.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Measure what is stale or was never.")] = False,
    again: Annotated[bool, typer.Option("--again", help="With --measure: what is valid, too.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Claims at a time, each on one thread.")] = 1,
    mode: Annotated[str, typer.Option(help="full; class or quick only show what they find.")] = "full",
    note: Annotated[str, typer.Option(help="What was changed since, kept in the ledger.")] = "",
) -> None:
    """Tell what was measured for the claims of the lectures, beside what, when, and whether it still stands.

    A claim is stale where a function that it ran behaves otherwise now, or its experiment or a network is
    another one; that is judged in a checkout. "labkit claims --measure --jobs 2" gives every number again; a
    run that was stopped goes on where it was. With --stale the exit code is 1 if any is.
    """
    from labkit.core.checks import check_choice
    from labkit.ledger import claims as ledger

    check_choice("--mode", mode, ("full", "class", "quick"))
    kept, places = ledger.read(), ledger.known()
    for id in ids or ():
        check_choice("ID", id, [*dict.fromkeys([*kept, *places])])
    wanted = list(ids or dict.fromkeys([*kept, *places]))
    states = {id: _state(kept.get(id)) for id in wanted}
    if stale:
        wanted = [id for id in wanted if states[id]]
    if measure:
        todo = [id for id in wanted if id in places and (again or mode != "full" or states[id] != [])]
        failed = measure_all(todo, jobs=jobs, mode=mode, note=note, kept=kept, say=typer.echo)
        raise typer.Exit(1 if failed else 0)
    for id in wanted:
        typer.echo("\n".join(described(id, kept.get(id), states[id], whole=bool(ids))))
    typer.echo(_summary(states))
    raise typer.Exit(1 if stale and wanted else 0)


def scoreboard(
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("scoreboard.html"),
    scenes: Annotated[int | None, typer.Option(min=1, help="Scenes a world; else 100, 30 and 12.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method (may be repeated).")] = None,
    world: Annotated[list[str] | None, typer.Option(help="Only clean, tag or snow (repeatable).")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Measure what is stale (in a checkout).")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure what ships with the kit, too.")] = False,
) -> None:
    """Hold every method to the planted truth: one table, as a page for a slide.

    The rows that ship with the kit are shown at once, a stale one with a dagger and the reason. Rows that are
    measured take seconds to minutes each and are kept beside the page as they come (NAME.jsonl), so that a
    run that was stopped goes on; with --stale they take the place of those that ship.
    """
    from labkit.core.checks import check_choice
    from labkit.ledger.scoreboard import ABOUT, BASELINES, BUNDLED, METHODS
    from labkit.ledger.scoreboard import scoreboard as rows_of
    from labkit.ledger.scoreboard_page import scoreboard_html
    from labkit.ledger.staleness import checkout

    for option, given, known in (("--world", world, ABOUT), ("--method", method, [*METHODS, *BASELINES])):
        for name in given or ():
            check_choice(option, name, known)
    page = out.expanduser().absolute()
    page.parent.mkdir(parents=True, exist_ok=True)
    ships = stale and scenes is None and checkout()
    kept, bundled = (BUNDLED if ships else page.with_suffix(".jsonl")), (None if again else BUNDLED)
    rows = rows_of(scenes, methods=method, only=world, kept=kept, bundled=bundled, fresh=stale)
    page.write_text(scoreboard_html(rows), encoding="utf-8")
    old = sum(bool(row.stale) for row in rows)
    told = f", {old} of them stale: labkit scoreboard --stale measures these again" if old else ""
    typer.echo(f"wrote {page} ({len(rows)} rows{told})")


def _state(entry: Entry | None) -> list[str] | None:
    """Why a claim is stale; empty if it is valid, None where that is not judged."""
    from labkit.ledger.claims import reasons

    return ["never measured"] if entry is None else reasons(entry)


def _summary(states: dict[str, list[str] | None]) -> str:
    count = f"{len(states)} claim{'' if len(states) == 1 else 's'}"
    if any(state is None for state in states.values()):
        return f"{count}; whether stale or not is judged in a checkout."
    bad = sum(state != [] for state in states.values())
    cure = " Measure them: labkit claims --measure" if bad else ""
    return f"{count}: {len(states) - bad} valid, {bad} stale.{cure}"


def _number(number: Number) -> Iterator[str]:
    yield f"      {number.what} = {number}, wanted {number.threshold}{'' if number.holds else ': no'}"
    for name, (value, low, high) in number.control.items():
        wanted = f", wanted {number.must[name]}" if name in number.must else ""
        yield f"         beside it, {name}: {value:.3g} [{low:.3g}, {high:.3g}]{wanted}"


def described(id: str, entry: Entry | None, state: list[str] | None, *, whole: bool = False) -> list[str]:
    """A claim in lines: verdict, date, state and numbers; ``whole`` adds notes and what it rests on."""
    if entry is None:
        return [f"{id:<4} never measured"]
    valid = "" if state is None else "; valid" if not state else f"; stale: {state[0]}"
    lines = [f"{id:<4} {entry.verdict}; measured on {entry.date} in {entry.seconds:.0f} s{valid}"]
    lines += [f"         stale, too: {reason}" for reason in (state or [])[1:]]
    lines += [line for number in entry.numbers for line in _number(number)]
    if whole:
        lines += [f"      {text}" for text in entry.notes]
        lines += [f"      at first: {n.what} = {n.first:.3g}" for n in entry.numbers if n.first is not None]
        lines += [f"      at first, and not measured now: {k} = {v:.3g}" for k, v in entry.earlier.items()]
        lines += [f"      changed: {text}" for text in entry.changes]
        lines += [f"      {kind}: {', '.join(names)}" for kind, names in (entry.rests or {}).items() if names]
        on = ", ".join(f"{name} {version}" for name, version in entry.versions.items())
        lines += [f"      on {on}"] if on else []
    return lines


def kept_number(id: str, what: str) -> tuple[Entry, Number] | None:
    """A number of the ledger with the entry that it stands in; None where it was never measured."""
    from labkit.ledger import claims as ledger

    entry = ledger.read().get(id)
    number = entry.number(what) if entry else None
    return None if entry is None or number is None else (entry, number)


def in_full(id: str, what: str) -> str:
    """A number of the ledger as a line for a notebook; empty where it was never measured.

    >>> in_full("Z1", "nothing")
    ''
    """
    from labkit.ledger import claims as ledger

    kept = kept_number(id, what)
    if kept is None:
        return ""
    entry, number = kept
    old = ", stale" if ledger.reasons(entry) else ""
    return f"measured on {entry.date} in full{old}: {number} (labkit claims {id})"


def measure_all(
    ids: Sequence[str], *, jobs: int, mode: str, note: str, kept: dict[str, Entry], say: Say
) -> list[str]:
    """Measure claims, ``jobs`` at a time, and enter each as it comes; gives the ids of those that failed.

    Raises RuntimeError where a golden answer is not that of the code: what a number rests on could not be
    told. Outside a checkout, and in class and quick mode, numbers are said and not kept.
    """
    from labkit.ledger import claims as ledger
    from labkit.ledger.staleness import checkout

    keeps = mode == "full" and checkout()
    if not ids:
        say("Nothing is stale.")
        return []
    if keeps:
        say("Holding the golden answers against the code (a minute) ...")
        hold_golden_answers()
    failed: list[str] = []
    order = sorted(ids, key=lambda id: -kept[id].seconds if id in kept else 0.0)  # the longest first
    for id, raw, problem in _processes(order, jobs, mode, say):
        if raw is None:
            failed.append(id)
            say(f"{id} could not be measured: {problem}")
            continue
        entry = ledger.entry_of(raw)
        entry = ledger.enter(id, entry, note=note) if keeps else entry
        say("\n".join(described(id, entry, None)))
    say(f"{len(ids) - len(failed)} of {len(ids)} measured{'' if keeps else ' (and not kept)'}.")
    return failed


def hold_golden_answers() -> None:
    """Raise RuntimeError where a golden answer is not that of the code."""
    run = [sys.executable, "-m", "labkit.ledger.golden"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            "golden answers must be those of the code before anything is measured on it:\n"
            f"{done.stdout or done.stderr[-2000:]}"
            "If that is meant, run: python -m labkit.ledger.golden --write"
        )


def _processes(ids: Sequence[str], jobs: int, mode: str, say: Say) -> Iterator[tuple[str, dict | None, str]]:
    """Run each claim in a process of its own: (id, its entry as read, or None and what went wrong)."""
    waiting, running = list(ids), dict[str, subprocess.Popen[bytes]]()
    alone = jobs == 1 and sys.stderr.isatty()  # one at a time may show its bars
    with tempfile.TemporaryDirectory() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    id = waiting.pop(0)
                    out, log = Path(folder, f"{id}.json"), Path(folder, f"{id}.log")
                    say(f"{id} ... ({len(ids) - len(waiting)} of {len(ids)})")
                    with log.open("wb") as errors:
                        running[id] = subprocess.Popen(
                            [sys.executable, "-m", "labkit.app.numbers", id, mode, str(out)],
                            stdout=errors, stderr=None if alone else errors,
                            env=os.environ | dict.fromkeys(THREADS, "1"),
                        )  # fmt: skip
                for id in [id for id, process in running.items() if process.poll() is not None]:
                    process = running.pop(id)
                    out, log = Path(folder, f"{id}.json"), Path(folder, f"{id}.log")
                    said = log.read_text("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
                    fine = process.returncode == 0 and out.exists()
                    yield id, json.loads(out.read_text("utf-8")) if fine else None, said[-1]
                time.sleep(0.1)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()


def main() -> None:
    """Measure one claim and write its entry: what ``labkit claims --measure`` starts for each."""
    import torch

    from labkit.exercises import find
    from labkit.experiments.bench import EXPERIMENTS
    from labkit.ledger.claims import known
    from labkit.ledger.measuring import measure

    id, mode, out = sys.argv[1:]
    torch.set_num_threads(1)
    importlib.import_module(known()[id].partition(".py")[0].replace("/", "."))  # and no other lab
    experiment = EXPERIMENTS[id]
    own = {name: find(exercise).reference for name, exercise in experiment.own.items()}
    entry, _ = measure(experiment, own, mode)
    Path(out).write_text(json.dumps(asdict(entry)), encoding="utf-8")


if __name__ == "__main__":
    main()
