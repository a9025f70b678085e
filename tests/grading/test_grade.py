"""A class from end to end: right, untouched, wrong, cheating, never ending, absent, unreadable."""

import csv
import json

import pytest
from demo import EXERCISES, GRADIENT, RIGHT_GRADIENT, RIGHT_SCALE, SCALE, notebook

from labkit.grading.grade import grade_class
from labkit.grading.rows import safe_name

KIT = {"05_demo": EXERCISES}
STUB = 'def {}({}):\n    """Say what to do."""\n    # YOUR CODE HERE\n    raise NotImplementedError()\n'

CLASS = {
    "solution": (RIGHT_SCALE, RIGHT_GRADIENT),
    "untouched": (STUB.format("scale_add", "x, factor"), STUB.format("gradient", "model, x")),
    "adds_first": ("def scale_add(x, factor):\n    return (x + 1) * factor", RIGHT_GRADIENT),
    "mean": (RIGHT_SCALE, RIGHT_GRADIENT.replace("amax", "mean")),
    "hardcoded": (
        "import torch\nG = torch.Generator().manual_seed(0)\n"
        "K = torch.rand(2, 3, generator=G, dtype=torch.float64)\n"
        "def scale_add(x, factor):\n    return (K + 0.5) * 2 + 1",
        RIGHT_GRADIENT,
    ),
    "borrower": (RIGHT_SCALE, "from labkit.evaluation import statistics\n" + RIGHT_GRADIENT),
    "endless": ("def scale_add(x, factor):\n    while True:\n        pass", RIGHT_GRADIENT),
    "crash": (RIGHT_SCALE, "import os\ndef gradient(model, x):\n    os._exit(1)"),
    "half": (RIGHT_SCALE,),
    "leaves": (
        RIGHT_SCALE,
        "def gradient(model, x):\n    x.requires_grad_()\n    model(x).sum().backward()\n"
        "    return x.grad.abs().amax(-1)",
    ),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for student, cells in CLASS.items():
        notebook(folder / "in" / student / "05_demo.ipynb", *cells)
    (folder / "in" / "scribble").mkdir()
    (folder / "in" / "scribble" / "05_demo.ipynb").write_text("{not json")
    (folder / "roster.csv").write_text(
        "id,name,e-mail\n" + "".join(f"{s},,\n" for s in CLASS) + "absent,Ann Sent,ann@example.org\n"
    )
    report = grade_class(
        folder / "in",
        folder / "out",
        jobs=2,
        roster=folder / "roster.csv",
        exercises=KIT,
        seed_file=folder / "seed",
    )
    return folder, report


@pytest.mark.parametrize(
    ("student", "status", "scale", "gradient"),
    [
        ("solution", "graded", 4, 6),
        ("untouched", "untouched", 0, 0),
        ("adds_first", "graded", 0, 6),
        ("mean", "graded", 4, 0),
        ("hardcoded", "graded", 0, 6),
        ("borrower", "graded", 4, 6),
        ("endless", "timeout", 0, 6),
        ("crash", "crashed", 4, 0),
        ("half", "partial", 4, 0),
        ("leaves", "graded", 4, 4),
        ("scribble", "unreadable", 0, 0),
        ("absent", "missing", 0, 0),
    ],
)
def test_marks_and_status(graded, student, status, scale, gradient):
    row = graded[1].row(student)
    assert row.status == status
    assert [result.points for result in row.exercises] == [scale, gradient]


@pytest.mark.parametrize(
    ("student", "exercise", "hint"),
    [
        ("adds_first", 0, SCALE.misconceptions[0].hint),
        ("mean", 1, GRADIENT.misconceptions[0].hint),
        ("hardcoded", 0, SCALE.misconceptions[3].hint),
        ("solution", 0, ""),
        ("endless", 0, ""),
        ("leaves", 1, ""),
    ],
)
def test_hints(graded, student, exercise, hint):
    assert graded[1].row(student).exercises[exercise].hint == hint


def test_every_roster_row_is_in_the_table_with_its_status(graded):
    folder, report = graded
    with open(folder / "out" / "grades.csv", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*CLASS, "absent", "scribble"}
    assert rows["absent"]["name"] == "Ann Sent"
    assert rows["solution"]["total"] == "10.0"
    assert rows["endless"]["status"] == "timeout"
    assert rows["endless"]["demo.gradient"] == "6.0"


def test_feedback_holds_the_hint_and_no_hidden_case(graded):
    page = (graded[0] / "out" / "feedback" / "adds_first.html").read_text()
    assert "Multiply before you add." in page
    assert "0 of 1 hidden checks passed" in page
    assert "fresh rows" not in page
    assert "seed" not in page
    assert "did not" in (graded[0] / "out" / "feedback" / "endless.html").read_text()


def test_the_page_for_the_instructor(graded):
    page = (graded[0] / "out" / "index.html").read_text()
    assert "13 students" not in page
    assert "12 students" in page
    assert "1 &times; Take the largest, not the mean. <small>(<code>mean for max</code>, 6 points)" in page
    assert graded[1].sandbox.split("(")[0] in page


def test_gradescope(graded):
    result = json.loads((graded[0] / "out" / "gradescope" / "adds_first.json").read_text())
    assert result["score"] == 6
    assert [test["max_score"] for test in result["tests"]] == [4, 6]
    assert "fresh rows" not in json.dumps(result)


def test_a_second_run_keeps_all_and_a_changed_submission_is_graded_again(graded):
    folder, first = graded
    again = grade_class(
        folder / "in", folder / "out", roster=folder / "roster.csv", exercises=KIT, seed_file=folder / "seed"
    )
    assert again.resumed == len(first.rows)
    assert again.rows == first.rows
    notebook(folder / "in" / "half" / "05_demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
    third = grade_class(
        folder / "in", folder / "out", roster=folder / "roster.csv", exercises=KIT, seed_file=folder / "seed"
    )
    assert third.resumed == len(first.rows) - 1
    assert third.row("half").total == 10


def test_a_fault_of_our_own_costs_one_row_and_the_next_run_mends_it(tmp_path, monkeypatch):
    from labkit.checking.judge import Judge

    for student in ("ada", "bob"):
        notebook(tmp_path / "in" / student / "05_demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
    (tmp_path / "course.toml").write_text('[points]\n"demo.scale_add" = 8')
    settings = {"exercises": KIT, "sandbox": "none", "course": tmp_path / "course.toml"}
    result, seen = Judge.result, []

    def broken(judge, outcomes):
        seen.append(judge)
        if len(seen) == 1:
            raise ArithmeticError("a slip of ours")
        return result(judge, outcomes)

    monkeypatch.setattr(Judge, "result", broken)
    report = grade_class(tmp_path / "in", tmp_path / "out", **settings)
    assert [(row.status, row.total, row.out_of) for row in report.rows] == [
        ("crashed", 0, 14),
        ("graded", 14, 14),
    ]
    (problem,) = report.row("ada").problems
    assert problem == "labkit failed, not the submission (ArithmeticError: a slip of ours); grade it again"
    assert "labkit failed, not the submission" in (tmp_path / "out" / "feedback" / "ada.html").read_text()
    again = grade_class(tmp_path / "in", tmp_path / "out", **settings)
    assert (again.resumed, again.row("ada").total) == (1, 14)


def test_odd_ids_get_files_of_their_own():
    names = [safe_name(s) for s in ("ada", "Ada", "../ada", "..\\ada", "a/b", "a_b", ".hidden", "x" * 300)]
    assert len(set(names)) == len(names)
    assert not any("/" in name or "\\" in name or name.startswith("..") and name == ".." for name in names)


def test_a_fault_that_a_students_own_helper_hands_on_is_called_so(tmp_path):
    uses = RIGHT_GRADIENT.replace("    return ", "    x = scale_add(x, 1.0) - 1\n    return ")
    wrong = "def scale_add(x, factor):\n    return x[:1]"
    for student, cells in {
        "both": (wrong, uses), "alone": (wrong, RIGHT_GRADIENT), "right": (RIGHT_SCALE, uses),
        "own": (RIGHT_SCALE, uses.replace("amax", "mean")),
    }.items():  # fmt: skip
        notebook(tmp_path / "in" / student / "05_demo.ipynb", *cells)
    report = grade_class(tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none")
    notes = {row.student: [result.notes for result in row.exercises] for row in report.rows}
    assert notes["alone"] == notes["right"] == notes["own"] == [[], []]
    assert notes["both"][0] == []
    (note,) = notes["both"][1]
    assert note.startswith("it uses your own scale_add, which is not right either: mend that first")
    assert note in (tmp_path / "out" / "feedback" / "both.html").read_text()
