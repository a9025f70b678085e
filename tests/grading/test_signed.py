"""Cases dealt by an id: handed in under another one, it is told, on the class's page and when handing in."""

from __future__ import annotations

import json
import zipfile

import pytest
from demo import notebook

from labkit.calls.call import Outcome, another_id
from labkit.calls.exercise import Case, Exercise, Verdict
from labkit.grading.grade import grade_class
from labkit.grading.submit import submit


def signed(case, args, output, expected):
    return Verdict(output[1] == expected[1])


SIGNED = Exercise(
    id="demo.found",
    title="What was found",
    points=2,
    minutes=2,
    difficulty=1,
    signature="found(number)",
    reference=lambda number: ("ada", number),
    public=lambda: [Case("case 1", (1,))],
    hidden=lambda seed: [Case("case 2", (2,))],
    compare=signed,
    signed=True,
)
CELL = 'STUDENT = "Ada"\n\ndef found(number):\n    return STUDENT, number'
TOLD = "the cases are those dealt to 'Ada', and not to 'bob', under whose id it is handed in"


def test_another_id_is_told_in_the_feedback_and_on_the_page_of_the_class(tmp_path) -> None:
    for student in ("ada", "bob"):
        notebook(tmp_path / "in" / student / "05_demo.ipynb", CELL)
    report = grade_class(tmp_path / "in", tmp_path / "out", exercises={"05_demo": [SIGNED]}, sandbox="none")
    notes = {row.student: row.exercises[0].notes for row in report.rows}
    assert notes == {"ada": [], "bob": [TOLD]}
    assert [row.total for row in report.rows] == [2.0, 2.0]
    assert "under whose id it is handed in" in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_another_id_is_told_when_handing_in(tmp_path) -> None:
    path = notebook(tmp_path / "05_demo.ipynb", CELL) or tmp_path / "05_demo.ipynb"
    seen: list[str] = []
    given = {"folder": tmp_path, "id_file": tmp_path / "id", "exercises": [SIGNED]}
    submit(path, "ada", sure=lambda missing: seen.extend(missing) or True, **given)
    assert seen == []
    done = submit(path, "bob", sure=lambda missing: seen.extend(missing) or True, **given)
    assert seen == [TOLD]
    with zipfile.ZipFile(done.path) as archive:
        assert TOLD in json.loads(archive.read("submission.json"))["notes"]
    with pytest.raises(ValueError, match="nothing was written"):
        submit(path, "bob", sure=lambda missing: False, **given)


@pytest.mark.parametrize("output", [None, "ada", ("ada", None), ["ADA ", 3], (3, None), ()])
def test_what_holds_no_other_id_is_not_told(output) -> None:
    assert another_id([Outcome("ok", output), Outcome("missing")], "Ada") == ""
