"""Grading: seconds a submission beside nbgrader on the same ten submissions; a class killed and resumed.

    python tests/benchmarks/bench_grading.py            # both graders, one process each, in turn
    python tests/benchmarks/bench_grading.py --killed   # 100 submissions, `kill -9` five times, four parts

Submissions are solved copies of the first lab. nbgrader runs the whole notebook and takes the number that
each check's cell ends in; ``labkit grade`` runs the functions on hidden cases. nbgrader is asked where it is
installed. Not run by pytest; Linux alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAB = "01_warm_up"
SOLUTION = Path(__file__).resolve().parents[2] / "solutions" / f"{LAB}.ipynb"
COURSE = 'c = get_config()\nc.CourseDirectory.course_id = "labkit"\n'
ONE_THREAD = {
    **os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # nbgrader calls alembic
}  # fmt: skip


def hand_in(folder: Path, students: int) -> Path:
    """A folder a student, each with the solved notebook."""
    for number in range(students):
        place = folder / f"s{number:03}"
        place.mkdir(parents=True)
        shutil.copy(SOLUTION, place / f"{LAB}.ipynb")
    return folder


def grading(submitted: Path, out: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "labkit.cli", "grade", str(submitted), "--out", str(out), "--jobs", "1",
        "--seed-file", str(out.parent / "seed"), *options,
    ]  # fmt: skip


def run(command: list[str], folder: Path) -> float:
    """Seconds of wall clock. Raises RuntimeError with the command's last words where it fails."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - begun


def by_nbgrader(folder: Path, students: int) -> float:
    """nbgrader's own tree: make the assignment, then autograde it. Seconds of the second."""
    (folder / "source" / LAB).mkdir(parents=True)
    shutil.copy(SOLUTION, folder / "source" / LAB / f"{LAB}.ipynb")
    (folder / "nbgrader_config.py").write_text(COURSE)
    nbgrader = [sys.executable, "-m", "nbgrader"]
    run([*nbgrader, "generate_assignment", LAB, "--create"], folder)
    for number in range(students):
        place = folder / "submitted" / f"s{number:03}" / LAB
        place.mkdir(parents=True)
        shutil.copy(SOLUTION, place / f"{LAB}.ipynb")
    return run([*nbgrader, "autograde", LAB, "--create"], folder)


def beside(students: int = 10) -> None:
    """Print the seconds a submission of both."""
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        ours = run(grading(hand_in(folder / "in", students), folder / "out"), folder)
        print(
            f"labkit grade        {ours / students:6.2f} s a submission, {students} of them, start included"
        )
        try:
            theirs = by_nbgrader(folder / "nbgrader", students)
        except RuntimeError as error:
            print("nbgrader did not grade:", error)
            return
        print(f"nbgrader autograde  {theirs / students:6.2f} s a submission")
        print(f"ratio               {theirs / ours:6.2f}")


def killed(students: int = 100, kills: int = 5) -> None:
    """Grade at once, killed and resumed, and in four parts: the tables must be the same."""
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        submitted = hand_in(folder / "in", students)
        whole = run(grading(submitted, folder / "whole"), folder)
        print(f"at once: {whole:.0f} s")
        for number in range(kills):
            begun = subprocess.Popen(
                grading(submitted, folder / "killed"), cwd=folder, env=ONE_THREAD,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            results, enough = folder / "killed" / "results", (number + 1) * students // (kills + 1)
            while begun.poll() is None and len(list(results.glob("*.json"))) < enough:
                time.sleep(0.1)
            begun.send_signal(signal.SIGKILL)
            begun.wait()
            print(f"kill {number + 1}: {len(list(results.glob('*.json')))} results are there", flush=True)
        run(grading(submitted, folder / "killed"), folder)
        for part in range(1, 5):
            run(grading(submitted, folder / "parts", "--part", f"{part}/4"), folder)
        run(grading(submitted, folder / "parts", "--collect"), folder)
        tables = [(folder / how / "grades.csv").read_bytes() for how in ("whole", "killed", "parts")]
        print("the same grades.csv:", tables[0] == tables[1] == tables[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--killed", action="store_true")
    parser.add_argument("--students", type=int, default=0)
    options = parser.parse_args()
    if options.killed:
        killed(options.students or 100)
    else:
        beside(options.students or 10)


if __name__ == "__main__":
    main()
