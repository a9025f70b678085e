"""When students handed in: the files' times, a table in their place, and what is told in doubt."""

import html
import os
from datetime import datetime

import pytest
from demo import EXERCISES, RIGHT_SCALE, notebook

from labkit.grading.grade import grade_class
from labkit.grading.times import read_times

DUE = datetime(2026, 11, 27, 23, 59)


@pytest.fixture
def grade(tmp_path):
    (tmp_path / "course.toml").write_text("deadline = 2026-11-27T23:59:00\nlate_percent_per_day = 10\n")

    def run(handed_in, times=None):
        for label, days in handed_in.items():
            path = notebook(tmp_path / "in" / f"{label}_05_demo.ipynb", RIGHT_SCALE)
            os.utime(path, (DUE.timestamp() + 86400 * days,) * 2)
        if times is not None:
            (tmp_path / "times.csv").write_text(times)
        return grade_class(
            tmp_path / "in", tmp_path / "out", exercises={"05_demo": EXERCISES[:1]}, sandbox="none",
            course=tmp_path / "course.toml", times=tmp_path / "times.csv" if times is not None else None,
        )  # fmt: skip

    return run


def test_where_all_are_late_the_times_are_asked_for_and_a_table_gives_them(tmp_path, grade):
    late = dict.fromkeys(("ada", "bob", "cem"), 2.5)
    report = grade(late)
    (notice,) = report.notices
    assert notice.startswith(
        "All 3 submissions are late by the times of their files: were these lost in a copy?"
    )
    assert notice in html.unescape((tmp_path / "out" / "index.html").read_text())
    assert [row.late_days for row in report.rows] == [3, 3, 3]
    report = grade(late, "student;time\nada;2026-11-27 23:10\nbob;28.11.2026 10:00\ncem;\n")
    assert [(row.late_days, row.total) for row in report.rows] == [(0, 4), (1, 3.6), (3, 2.8)]
    assert report.notices == []
    assert report.resumed == 1


@pytest.mark.parametrize("days", [(2, 2), (2, 2, -1)])
def test_two_late_ones_or_one_in_time_are_nothing_to_ask_about(grade, days):
    assert grade(dict(zip(("ada", "bob", "cem"), days, strict=False))).notices == []


def test_canvas_says_late_and_the_time_does_not(grade):
    report = grade({"ada_LATE_77": -2, "bob_LATE_78": 2, "cem_79": -2})
    doubts = [row.doubts for row in report.rows]
    assert [len(told) for told in doubts] == [1, 0, 0]
    assert "Canvas calls ada_LATE_77_05_demo late, and its time is before the deadline" in doubts[0][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("student,time\nada,2026-11-27\n", "line 2 of the times .* gives 'ada' the time '2026-11-27'"),
        ("student,time\nada,yesterday at ten\n", "the time 'yesterday at ten'. Write it as 2026-11-27 23:10"),
        ("who,when\nada,x\n", "need the first line student,time; got who,when"),
        ("", "need the first line student,time"),
        ("student,time\nadda,2026-11-27 23:10\n", "'adda', whom nothing knows. Did you mean 'ada'"),
    ],
)
def test_times_that_make_no_sense_are_refused(grade, text, words):
    with pytest.raises(ValueError, match=words):
        grade({"ada": 0}, text)


def test_a_time_may_name_its_zone(tmp_path):
    (tmp_path / "t.csv").write_text("student,time\nada,2026-11-27T22:10:00Z\nada,2026-11-27T23:00:00+01:00\n")
    assert read_times(tmp_path / "t.csv") == {"ada": 1795817400.0}
