"""One submission never stops a batch, and what is right is given its marks, with walls and without."""

import pytest
from bad_submissions import LOST, STOPPERS
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.grading.grade import grade_class

KIT = {"05_demo": EXERCISES}
ALL = {**STOPPERS, **LOST}


@pytest.fixture(scope="module", params=["auto", "none"])
def report(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    for name, bad in ALL.items():
        notebook(folder / "in" / name / "05_demo.ipynb", *bad.cells)
    notebook(folder / "in" / "honest" / "05_demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
    return grade_class(folder / "in", folder / "out", exercises=KIT, sandbox=request.param)


@pytest.mark.parametrize("name", ALL)
def test_status_and_marks(report, name):
    row, bad = report.row(name), ALL[name]
    found = (row.status, *(result.points for result in row.exercises))
    assert found == (bad.status, bad.scale, bad.gradient), row.problems + [r.notes for r in row.exercises]


def test_the_neighbour_is_graded_and_the_tables_are_there(report):
    assert report.row("honest").total == 10
    assert (report.out / "grades.csv").read_text().count("\n") == len(ALL) + 2
    assert len(list((report.out / "feedback").iterdir())) == len(ALL) + 1
