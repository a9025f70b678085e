"""What an instructor sets: points, deadline, dropped exercises, the roster, the secret."""

import csv
import os
import stat
import sys

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.grading.course import Course, read_course, read_secret, seed_for
from labkit.grading.grade import grade_class
from labkit.grading.roster import read_roster

TOML = """
name = "Autumn"
deadline = 2026-11-27T23:59:00
late_percent_per_day = 10
dropped = ["demo.gradient"]
[points]
"demo.scale_add" = 8
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_points_deadline_and_dropped_exercises_count(tmp_path):
    course = write(tmp_path / "course.toml", TOML)
    due = read_course(course).deadline.timestamp()
    for student, late in (("in_time", -60), ("late", 86400 + 60)):
        path = notebook(tmp_path / "in" / student / "05_demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
        os.utime(path, (due + late, due + late))
    report = grade_class(tmp_path / "in", tmp_path / "out", course=course, exercises={"05_demo": EXERCISES})
    assert [exercise.id for exercise in report.exercises] == ["demo.scale_add"]
    rows = {row.student: (row.total, row.out_of, row.late_days) for row in report.rows}
    assert rows == {"in_time": (8, 8, 0), "late": (6.4, 8, 2)}
    assert "<title>Autumn</title>" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deadlin = 3", "unknown entry 'deadlin'. Did you mean 'deadline'"),
        ('deadline = "tomorrow"', "deadline in .* must be a date with a time"),
        ('[extensions]\na = "later"', r"'a' under \[extensions\] in .* must be a date .*; got 'later'"),
        ("[extensions]\na = 2026-12-04", "must be a date with a time; got datetime.date"),
        ("[points]\na = -1", r"'a' under \[points\] in .*toml must be a number of at least 0; got -1"),
        ("[points]\na = true", "must be a number of at least 0; got True"),
        ("[words]\na = nan", r"'a' under \[words\] in .* got nan"),
        ('[words]\na = "ten"', "got 'ten'. Write \"a\" = 8, the number without quotes"),
        ("[points]\nwarm_up.train = 5", 'with a dot needs quotes. Write "warm_up.train" = 8'),
        ("points = 5", r"points in .* must be a part of its own; got 5. Write \[points\]"),
        ("late_percent_per_day = -10", "late_percent_per_day in .*toml must be .* 0 to 100.* got -10"),
        ('late_percent_per_day = "ten"', "late_percent_per_day in .*toml must be .* got 'ten'"),
        ('dropped = "warm_up.train"', r'dropped in .* must be a list.*Write dropped = \["warm_up.train"\]'),
        ('notebooks = "01_warm_up"', r'notebooks in .* got \'01_warm_up\'. Write notebooks = \["01_warm_up"'),
        ("name = 5", "name in .* must be a text; got 5"),
        ("=", "is not TOML"),
    ],
)
def test_a_course_file_that_makes_no_sense_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_course(write(tmp_path / "course.toml", text))


@pytest.mark.parametrize(
    "text",
    [
        "id,name,e-mail\nada,Ada L,ada@x\n",
        "ada,Ada L,ada@x\n",
        "\ufeffName,Student ID,Email\nAda L,ada,ada@x\n",
        "id;name;e-mail\n\nada;Ada L;ada@x\n",
        "Name\tStudent ID\tEmail\nAda L\tada\tada@x\n",
        "Matrikelnummer;Nachname;Vorname;E-Mail\nada;L;Ada;ada@x\n",
        "Name;Vorname;Matrikel-Nr.;E-Mail-Adresse\nL;Ada;ada;ada@x\n",
        "Student ID,First name,Last name,Email address\nada,Ada,L,ada@x\n",
        "ID number,Full name,Department,Email address\nada,Ada L,CS,ada@x\n",
        "First name,Surname,ID number,Username,Email\nAda,L,,ada,ada@x\nBob,M,,,b@x\n",
        "Student,ID,Email\nAda L,ada,ada@x\n",
        "Vollständiger Name;Anmeldename;E-Mail-Adresse\nAda L;ada;ada@x\n",
    ],
)
def test_rosters(tmp_path, text):
    (student,) = read_roster(write(tmp_path / "roster.csv", text))
    assert (student.id, student.name, student.email) == ("ada", "Ada L", "ada@x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Étudiant,Prénom,Courriel\n7,Ada,ada@x\n",
            "Étudiant, Prénom, .* none of its words is known",
        ),
        ("nummer,wer\ns1,Ada\ns2,Bob\n", "looks like a heading, .* Known are id, .*Matrikelnummer"),
        ("Vorname,Nachname\nAda,L\n", "is a heading with no column for the id. Known are id"),
        ("id,prénom\n7,Ada\n", "is a heading with no name or e-mail that is known"),
    ],
)
def test_a_heading_that_is_not_understood_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_roster(write(tmp_path / "roster.csv", text))


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path):
    for read, what in ((read_roster, "roster"), (read_course, "course file")):
        with pytest.raises(FileNotFoundError, match=f"there is no {what} at .*nowhere"):
            read(tmp_path / "nowhere")
        (tmp_path / "old").write_bytes("id,name\n1,Jürgen\n".encode("latin-1"))
        with pytest.raises(ValueError, match=f"the {what} .*old is not in UTF-8"):
            read(tmp_path / "old")


def test_an_id_that_stands_there_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds the id 'ada' twice"):
        read_roster(write(tmp_path / "roster.csv", "ada\nbob\nada\n"))


def test_the_secret_is_made_once_and_kept_from_others(tmp_path):
    path = tmp_path / "keep" / "seed"
    secret = read_secret(path)
    assert read_secret(path) == secret
    assert len(secret) == 64
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="must hold at least 8 characters; got 5"):
        read_secret(write(tmp_path / "short", "short"))


def test_seeds_differ_by_secret_student_and_exercise():
    seeds = {seed_for(s, who, what) for s in ("x" * 8, "y" * 8) for who in ("a", "b") for what in ("e", "f")}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_for("x", "ab", "c") != seed_for("x", "a", "bc")


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    notebook(tmp_path / "in" / "=cmd()" / "05_demo.ipynb", RIGHT_SCALE)
    grade_class(tmp_path / "in", tmp_path / "out", exercises={"05_demo": EXERCISES}, sandbox="none")
    with open(tmp_path / "out" / "grades.csv", newline="") as file:
        assert list(csv.reader(file))[1][0] == "'=cmd()"


def test_nothing_that_can_be_told_is_said(tmp_path):
    (tmp_path / "empty" / "ada").mkdir(parents=True)
    with pytest.raises(ValueError, match="nothing was handed in: the folder of submissions holds no noteb"):
        grade_class(tmp_path / "empty", tmp_path / "out", exercises={"05_demo": EXERCISES})
    notebook(tmp_path / "in" / "ada" / "shopping.ipynb", "x = 1")
    with pytest.raises(ValueError, match="no exercise can be told from the names of the notebooks"):
        grade_class(tmp_path / "in", tmp_path / "out", exercises={"05_demo": EXERCISES})


def test_an_extension_is_one_students_own_deadline():
    from datetime import datetime, timedelta

    due = datetime(2026, 11, 27)
    course = Course(deadline=due, extensions={"ada": due + timedelta(days=7)})
    handed_in = (due + timedelta(days=2)).timestamp()
    assert (course.late_days(handed_in, "ada"), course.late_days(handed_in, "bob")) == (0, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('dropped = ["demo.gradien"]', "dropped in the course file names 'demo.gradien'.*'demo.gradient'"),
        ('[points]\n"demo.scale" = 3', "names 'demo.scale', and there is no exercise"),
        ('[points]\n"demo.sc" = 3', "Did you mean 'demo.scale_add' or 'demo.gradient'"),
        ('[words]\n"demo_fre_1" = 3', r"\[words\] .* names 'demo_fre_1', and there is no question in words"),
        ('notebooks = ["05_dmeo"]', "Did you mean '05_demo'"),
        ("[extensions]\nadda = 2026-12-04T23:59:00", "there is no student of this id. Did you mean 'ada'"),
    ],
)
def test_an_id_in_the_course_file_that_nothing_has_is_refused(tmp_path, text, words):
    notebook(tmp_path / "in" / "ada" / "05_demo.ipynb", RIGHT_SCALE)
    course = write(tmp_path / "course.toml", text)
    with pytest.raises(ValueError, match=words):
        grade_class(tmp_path / "in", tmp_path / "out", course=course, exercises={"05_demo": EXERCISES})
