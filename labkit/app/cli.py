"""The command ``labkit``: open the labs, check, hand in, release, grade, show, measure, examine and fetch.

Everything heavy is imported inside the command that needs it, so that ``labkit --help`` answers at once.
Exit codes: 0 all is well, 1 the answer is "not yet" (a check fails, something needed is broken), 2 a mistake
in how the command was called. A mistake gets one sentence; ``LABKIT_TRACEBACK=1`` shows where it came from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from labkit import __version__
from labkit.app.lecture import demo
from labkit.app.numbers import claims, scoreboard

__all__ = ["app"]

app = typer.Typer(
    name="labkit",
    help="A course lab kit for interpreting neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@contextmanager
def _mistakes() -> Iterator[None]:
    """Answer a mistake with its sentence on standard error and exit code 2."""
    try:
        yield
    except typer.Exit:
        raise
    except BrokenPipeError:  # `labkit claims | head`: whoever read has enough, and no word reaches it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (ValueError, TypeError, LookupError, OSError, RuntimeError, ImportError) as problem:
        if os.environ.get("LABKIT_TRACEBACK"):
            raise
        text = problem.args[0] if isinstance(problem, KeyError) and problem.args else problem
        typer.echo(f"labkit: {str(text) or type(problem).__name__}", err=True)
        raise typer.Exit(2) from problem
    except KeyboardInterrupt:
        typer.echo("\nlabkit: stopped", err=True)
        raise typer.Exit(130) from None


def _answered(command: Callable[..., None]) -> Callable[..., None]:
    """A command of another file, its mistakes answered as those of this one."""

    @wraps(command)
    def run(*given: Any, **options: Any) -> None:
        with _mistakes():
            command(*given, **options)

    return run


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"labkit {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """A course lab kit for interpreting neural networks."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console with an old code page still prints ticks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Your working folder.")] = Path("labs"),
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Port to serve on (by default the first free one).")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Tell what would be copied, and stop.")] = False,
    only_copy: Annotated[bool, typer.Option("--copy", help="Copy the notebooks, and stop.")] = False,
) -> None:
    """Copy the labs into a working folder and open JupyterLab there.

    What you have edited is never overwritten: a newer version is laid beside it as NAME.new.ipynb.
    """
    with _mistakes():
        from labkit.app.workspace import copy_notebooks, open_lab, plan_copies

        plan = plan_copies(folder) if only_list else copy_notebooks(folder)
        for copy in plan:
            missing = only_list and copy.action == "new"
            typer.echo(f"{copy.name}: not there yet" if missing else copy.sentence)
        if not (only_list or only_copy):
            open_lab(folder, browser=not no_browser, port=port)


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="The notebook you work on.")],
) -> None:
    """Run the public checks of a notebook in a clean process."""
    with _mistakes():
        from labkit.app.workspace import existing_notebook
        from labkit.checking.notebook import check_notebook

        report = check_notebook(existing_notebook(notebook))
        typer.echo(str(report))
    raise typer.Exit(0 if report.passed else 1)


@app.command()
def submit(
    notebook: Annotated[Path, typer.Argument(help="The notebook to hand in.")],
    student: Annotated[str | None, typer.Option("--id", help="Your id (asked for once, then kept).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Hand in without asking, whatever is missing.")] = False,
) -> None:
    """Write the one zip file that you hand in; what is missing is said first, and asked about."""

    def sure(missing: list[str]) -> bool:
        typer.echo("Before you hand this in:\n" + "\n".join(f"  {line}" for line in missing))
        # in a notebook nobody can answer
        return yes or not sys.stdin.isatty() or typer.confirm("Hand it in as it is?", default=False)

    with _mistakes():
        from labkit.app.workspace import existing_notebook
        from labkit.grading.submit import submit as write

        try:
            receipt = write(existing_notebook(notebook), student, sure=sure)
        except EOFError as nobody:
            raise ValueError("no id was given; write it as `labkit submit NOTEBOOK --id ID`") from nobody
        typer.echo(str(receipt))


@app.command()
def release(
    solutions: Annotated[Path, typer.Option(help="Folder of the solution notebooks.")] = Path("solutions"),
    notebooks: Annotated[Path, typer.Option(help="Folder of the student copies.")] = Path("notebooks"),
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Then pack wheel and notebooks for students.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Where the bundle goes.")] = Path("dist"),
) -> None:
    """Write the student notebooks from the solutions; refuses, naming the cell, if a solution would leak."""
    with _mistakes():
        os.environ.setdefault("TQDM_DISABLE", "1")  # before it is imported: answers show hundreds of bars
        from labkit.grading.bundle import release_bundle
        from labkit.grading.release import release as write

        if any(solutions.glob("*.ipynb")):
            typer.echo("Running every solution, stub and misconception, some minutes ...", err=True)
        written = write(solutions, notebooks)
        for path in [*written, *([release_bundle(out, notebooks=notebooks.absolute())] if bundle else [])]:
            typer.echo(f"wrote {path}")
        if not written:
            typer.echo("All student notebooks are up to date.")


@app.command()
def grade(
    submitted: Annotated[Path, typer.Argument(help="Folder of submissions.")],
    out: Annotated[Path, typer.Option("--out", help="Where grades and feedback go.")] = Path("grades"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Submissions at a time (default: cores, 4 at most).")
    ] = None,
    roster: Annotated[Path | None, typer.Option(help="CSV of id, name, e-mail.")] = None,
    seed_file: Annotated[
        Path | None, typer.Option(help="The secret of the course (default: OUT/seed).")
    ] = None,
    sandbox: Annotated[str, typer.Option(help="auto, strict or none.")] = "auto",
    course: Annotated[
        Path | None, typer.Option(help="TOML file: points, deadline, dropped exercises.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Grade anew what is graded already.")] = False,
    part: Annotated[
        str, typer.Option(help="3/20: grade the third of twenty parts, without tables; see --collect.")
    ] = "",
    collect: Annotated[
        bool, typer.Option("--collect", help="Grade nothing; write the tables of the parts' results.")
    ] = False,
    marks: Annotated[Path | None, typer.Option(help="CSV of marks by hand.")] = None,
    times: Annotated[
        Path | None, typer.Option(help="CSV of student and time handed in (default: the files' times).")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Moodle's or Canvas' table, to be filled with the totals.")
    ] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Scale what is exported to the table's own maximum.")
    ] = False,
) -> None:
    """Grade a class: one row per student in grades.csv, feedback per student, an item analysis."""
    with _mistakes():
        from collections import Counter

        os.environ.setdefault("TQDM_DISABLE", "1")  # the reference answers' own bars
        from labkit.app.workspace import UserError, find_notebooks
        from labkit.core.checks import check_choice
        from labkit.grading.export import fill_template
        from labkit.grading.grade import grade_class, part_of

        check_choice("--sandbox", sandbox, ["auto", "strict", "none"])
        kit = None
        with suppress(UserError):  # without the kit's notebooks, those handed in tell the questions
            kit = find_notebooks()
        report = grade_class(
            submitted,
            out,
            jobs=jobs or min(4, os.cpu_count() or 1),
            roster=roster,
            seed_file=seed_file,
            sandbox=sandbox,
            course=course,
            resume=not again,
            progress=typer.echo,
            part=part_of(part),
            collect=collect,
            marks=marks,
            times=times,
            kit=kit,
        )
        kept = f" ({report.resumed} kept from before)" if report.resumed else ""
        counts = Counter(row.status for row in report.rows)
        typer.echo(f"{len(report.rows)} students{kept}: " + ", ".join(f"{n} {s}" for s, n in counts.items()))
        typer.secho(report.sandbox, fg="red" if "ROOT" in report.sandbox else None)
        if part:
            typer.echo(f"Part {part} is done. When all are: labkit grade ... --collect, the same otherwise.")
            return
        filled = fill_template(report, export, scale) if export else None
        for notice in [*report.notices, *(filled.warnings if filled else ())]:
            typer.secho(notice, fg="yellow")
        if filled:
            absent = f"; not in it: {', '.join(filled.absent)}" if filled.absent else ""
            typer.echo(f"{filled.path} is to be uploaded{absent}")
        typer.echo(f"Open {report.out / 'index.html'}; the marks are in {report.out / 'grades.csv'}")


MARKS = {"ok": ("\u2713", "green"), "missing": ("\u2717", "yellow"), "broken": ("\u2717", "red")}


@app.command()
def doctor() -> None:
    """Tell what is installed and at hand, whether widgets and a browser work, and what to do if not."""
    from labkit.app.doctor import examine

    broken = 0
    for finding in examine():
        mark, colour = MARKS[finding.word]
        typer.secho(f"{mark} {finding.word:<8}", fg=colour, nl=False)
        typer.echo(f"{finding.topic:<12} {finding.text}")
        if not finding.ok:
            broken += finding.needed
            typer.echo(f"{'':<23}what to do: {finding.cure}")
    typer.echo(f"Broken, but needed by the labs: {broken}" if broken else "All that the labs need works.")
    raise typer.Exit(1 if broken else 0)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Networks, for example squeezenet1_1.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List what can be fetched, and stop.")] = False,
) -> None:
    """Download pretrained weights now, so that a lab needs no network later."""
    with _mistakes():
        from labkit.data import fetch as download
        from labkit.models import bundled_models, list_models

        bundled = bundled_models()
        if only_list or not names:
            for name in list_models():
                typer.echo(f"{name}  (bundled)" if name in bundled else name)
            return
        for name in names:
            typer.echo(
                f"{name}: " + ("ships with the kit" if name in bundled else f"ready, {download(name)}")
            )


for _command in (demo, claims, scoreboard):
    app.command()(_answered(_command))


if __name__ == "__main__":
    app()
