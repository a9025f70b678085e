"""The item analysis: the exercise that cost the class most stands first, with the mistake that did it."""

import csv

from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.checking.judge import ExerciseResult
from labkit.grading.grade import grade_class
from labkit.grading.items import Mistake, item_analysis
from labkit.grading.rows import Row


def row(status, *results):
    exercises = [
        ExerciseResult(id, id.upper(), points, 4, misconception=name, hint=f"hint of {name}")
        for id, points, name in results
    ]
    return Row("ada", "", "", status, 0, 8, 0, exercises=exercises)


def test_the_costliest_comes_first_and_who_handed_in_nothing_does_not_count():
    first, second = item_analysis(
        [
            row("graded", ("a", 4, ""), ("b", 0, "m")),
            row("graded", ("a", 3, "k"), ("b", 1.5, "m")),
            row("graded", ("a", 4, ""), ("b", 0, "n")),
            row("missing", ("a", 0, ""), ("b", 0, "")),
        ]
    )
    assert (first.id, first.title, first.students, first.lost) == ("b", "B", 3, 10.5)
    assert first.mistakes == [Mistake("m", "hint of m", 2, 6.5), Mistake("n", "hint of n", 1, 4)]
    assert second.share == 11 / 12
    assert first.words == {"missing": 3}


def test_a_cell_that_python_cannot_read_is_no_untried_one_and_a_mistake_is_told_in_words(tmp_path):
    stub = "def scale_add(x, factor):\n    raise NotImplementedError()"
    first = "def scale_add(x, factor):\n    return (x + 1) * factor"
    handed_in = {
        "ada": [RIGHT_SCALE.replace("factor):", "factor)")],
        "bob": [RIGHT_SCALE.replace("return", "break #")],  # read by Python, and not compiled
        "cy": [stub, RIGHT_SCALE.replace("* factor", "* factor)")],  # a copy below the stub
        "dan": [stub],
        "eve": [first],
        "fay": ["x = 1"],
    }
    for student, cells in handed_in.items():
        notebook(tmp_path / "in" / student / "05_demo.ipynb", *cells, RIGHT_GRADIENT)
    report = grade_class(tmp_path / "in", tmp_path / "out", exercises={"05_demo": EXERCISES}, sandbox="none")
    said = {row.student: (row.status, row.exercises[0].word, row.total) for row in report.rows}
    assert said == {
        **dict.fromkeys(["ada", "bob", "cy"], ("does not parse", "does not parse", 6)),
        **dict.fromkeys(["dan", "fay"], ("partial", "missing", 6)),
        "eve": ("graded", "values", 6),
    }
    with open(tmp_path / "out" / "items.csv", newline="") as file:
        scale, gradient = csv.DictReader(file)
    assert scale["results"] == "3 does not parse, 2 missing, 1 values"
    assert (scale["misconception"], scale["hint"]) == ("add first", "Multiply before you add.")
    assert (gradient["results"], gradient["misconception"], gradient["hint"]) == ("6 right", "", "")
    page = " ".join((tmp_path / "out" / "index.html").read_text().split())
    assert "3 does not parse (ada, bob, cy), 2 missing (dan, fay)" in page
    assert "<b>does not parse</b>: tried, but Python cannot read the cell (a syntax error)." in page
    assert "<b>values</b>: the result has the right form and holds other numbers" in page
    assert "Does not parse: Python cannot read a cell" in page
    student = (tmp_path / "out" / "feedback" / "cy.html").read_text()
    assert "the cell that defines scale_add cannot be read: SyntaxError in line 4" in student
