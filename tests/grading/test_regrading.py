"""A row is graded again when what it rests on has changed, and when somebody else has written it."""

import json
import os

from demo import EXERCISES, RIGHT_SCALE, notebook

from labkit.grading.grade import grade_class

KIT = {"05_demo": EXERCISES[:1]}


def grader(tmp_path):
    paths = [notebook(tmp_path / "in" / id / "05_demo.ipynb", RIGHT_SCALE) for id in ("ada", "bob")]
    for path in paths:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "course.toml").write_text("deadline = 2023-11-20T00:00:00\nlate_percent_per_day = 10")
    (tmp_path / "roster.csv").write_text("ada\nbob\n")

    def grade():
        return grade_class(
            tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none",
            course=tmp_path / "course.toml", roster=tmp_path / "roster.csv",
        )  # fmt: skip

    return paths[0], grade


def test_a_name_and_a_hand_in_time_count(tmp_path):
    path, grade = grader(tmp_path)
    grade()
    assert grade().resumed == 2
    (tmp_path / "roster.csv").write_text("id,name\nada,Ada L\nbob,\n")
    report = grade()
    assert (report.resumed, report.row("ada").name) == (1, "Ada L")
    os.utime(path, (1_700_500_000, 1_700_500_000))
    late = grade().row("ada")
    assert late.late_days > 0
    assert late.total < 4


def test_a_result_that_others_have_written_is_not_kept(tmp_path):
    _, grade = grader(tmp_path)
    grade()
    result = tmp_path / "out" / "results" / "ada.json"
    data = json.loads(result.read_text())
    result.write_text(json.dumps({**data, "total": 400}))
    report = grade()
    assert (report.resumed, report.row("ada").total) == (1, 4)
