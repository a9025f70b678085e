"""A mended exercise and another setting mean another fingerprint, and so that a class is graded again."""

import importlib.util
import os
import subprocess
import sys

import pytest
from demo import notebook

from labkit.grading.course import Course, read_course
from labkit.grading.fingerprint import fingerprint
from labkit.grading.grade import grade_class

FILE = '''
import torch
from labkit.calls.exercise import Case, Exercise, Misconception, Verdict

ONE = 1


def more(x):
    return x + ONE


def add_one(x):
    """One more than x."""
    return more(x)


def whole(case, args, output, expected):
    return Verdict(bool((output == expected).all()), "values")


def hidden(seed):
    return [Case("fresh", (torch.full((2,), float(seed % 7)),), points=2)]


ADD = Exercise(
    id="demo.add_one", title="Add one", points=4, minutes=2, difficulty=1, signature="add_one(x)",
    reference=add_one, public=lambda: [Case("zeros", (torch.zeros(2),))], hidden=hidden, compare=whole,
    misconceptions=(Misconception("nothing", lambda x: x + 0, "Add the one."),), imports=("torch",),
    blocks=("labkit.evaluation.add_one",), seconds=1.5,
)
'''


def load(tmp_path, text):
    path = tmp_path / "made_up.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("made_up", path)
    module = importlib.util.module_from_spec(spec)
    exec(compile(text, str(path), "exec"), vars(module))
    return (module.ADD,)


def edited(old, new):
    assert FILE.count(old) == 1, old
    return FILE.replace(old, new)


EDITS = {
    "reference": ("return more(x)", "return x + 1"),
    "what the reference calls": ("return x + ONE", "return ONE + x"),
    "a constant": ("ONE = 1", "ONE = 1.0"),
    "comparator": ("(output == expected)", "(output - expected == 0)"),
    "another comparator": ("compare=whole", 'compare="exact"'),
    "blocks": ("evaluation.add_one", "data.add_one"),
    "misconception": ("lambda x: x + 0", "lambda x: x * 1"),
    "hint": ("Add the one.", "One is missing."),
    "cases": ("torch.zeros(2)", "torch.zeros(3)"),
    "how cases are drawn": ("float(seed % 7)", "float(seed % 9)"),
    "points of a case": ("points=2)", "points=3)"),
    "points": ("points=4", "points=5"),
    "seconds": ("seconds=1.5", "seconds=2.5"),
    "imports": ('imports=("torch",)', 'imports=("torch", "numpy")'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_mended_exercise_has_another_fingerprint(tmp_path, edit):
    before = fingerprint(load(tmp_path, FILE), Course())
    assert fingerprint(load(tmp_path, edited(*EDITS[edit])), Course()) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return more(x)", "return more(x)  # of course"),
        ("One more than x.", "x, and one more."),
        ("\n\ndef add_one", "\n# Now the thing itself.\n\n\ndef add_one"),
        ("return x + ONE", "return (\n        x + ONE\n    )"),
    ],
)
def test_a_comment_a_docstring_or_a_line_break_changes_nothing(tmp_path, old, new):
    before = fingerprint(load(tmp_path, FILE), Course())
    assert fingerprint(load(tmp_path, edited(old, new)), Course()) == before


@pytest.mark.parametrize(
    "line",
    [
        "late_percent_per_day = 5",
        "deadline = 2026-11-27T23:59:00",
        'dropped = ["a.b"]',
        '[points]\n"a.b" = 1',
    ],
)
def test_a_setting_of_the_course_counts(tmp_path, line):
    path = tmp_path / "course.toml"
    path.write_text(line)
    assert fingerprint((), read_course(path)) != fingerprint((), Course())


def test_it_is_the_same_in_every_process():
    """The order of a set of words changes from one process to the next."""
    code = (
        "from labkit.grading.fingerprint import fingerprint\nfrom labkit.grading.course import Course\n"
        "print(fingerprint((), Course(dropped=frozenset('abcdefgh'))))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "123"
    }  # fmt: skip
    assert len(said) == 1


def test_a_class_is_graded_again_after_a_mend_and_not_after_a_comment(tmp_path):
    notebook(tmp_path / "in" / "ada" / "05_demo.ipynb", "def add_one(x):\n    return x + 1")

    def grade(text):
        kit = {"05_demo": load(tmp_path, text)}
        report = grade_class(tmp_path / "in", tmp_path / "out", exercises=kit, sandbox="none")
        return report.resumed, report.row("ada").total

    assert grade(FILE) == (0, 4)
    assert grade(edited("return more(x)", "return more(x)  # of course")) == (1, 4)
    assert grade(edited("return x + ONE", "return x - ONE")) == (0, 0)


def test_what_finds_a_function_and_gives_its_status_counts(tmp_path):
    """Else an earlier version's rows, in which a cell with a syntax error is called unwritten, are kept."""
    from labkit.calls import notebook
    from labkit.grading import student
    from labkit.grading.fingerprint import JUDGES

    assert {notebook, student} <= set(JUDGES)
