"""A class graded in parts and collected has the tables of one graded at once, and of one interrupted."""

import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook
from typer.testing import CliRunner

from labkit.app.cli import app
from labkit.grading import grade as grading
from labkit.grading.course import read_secret
from labkit.grading.grade import grade_class

KIT = {"05_demo": EXERCISES}


@pytest.fixture
def grade(tmp_path):
    for number in range(7):
        cells = (RIGHT_SCALE, RIGHT_GRADIENT) if number % 3 else (RIGHT_SCALE,)
        notebook(tmp_path / "in" / f"s{number}" / "05_demo.ipynb", *cells)

    def run(out, **options):
        return grade_class(
            tmp_path / "in",
            tmp_path / out,
            exercises=KIT,
            sandbox="none",
            seed_file=tmp_path / "seed",
            **options,
        )

    return run


def test_four_parts_collected_are_the_whole(tmp_path, grade):
    grade("whole")
    for number in (1, 2, 3):
        report = grade("parts", part=(number, 4))
        assert all(row.status in ("graded", "partial") for row in report.rows)
        assert not (tmp_path / "parts" / "grades.csv").exists()
    with pytest.raises(ValueError, match=r"1 of 7 students have no result that is still good \(s3\)"):
        grade("parts", collect=True)
    grade("parts", part=(4, 4))
    assert grade("parts", collect=True).resumed == 7
    for table in ("grades.csv", "items.csv", "index.html"):
        assert (tmp_path / "parts" / table).read_text() == (tmp_path / "whole" / table).read_text()


def test_interrupted_five_times_and_resumed_it_loses_nothing(tmp_path, grade, monkeypatch):
    grade("whole")
    real, left = grading.grade_one, []

    def stops(*arguments):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return real(*arguments)

    monkeypatch.setattr(grading, "grade_one", stops)
    for _ in range(5):
        left.append(1)
        with pytest.raises(KeyboardInterrupt):
            grade("broken")
    monkeypatch.setattr(grading, "grade_one", real)
    assert grade("broken").resumed == 5
    assert (tmp_path / "broken" / "grades.csv").read_text() == (tmp_path / "whole" / "grades.csv").read_text()


@pytest.mark.parametrize("part", [(0, 4), (5, 4)])
def test_a_part_that_is_none_is_refused(grade, part):
    with pytest.raises(ValueError, match="part must be k of n"):
        grade("x", part=part)


def test_a_part_on_the_command_line_is_two_numbers(tmp_path):
    said = CliRunner().invoke(app, ["grade", str(tmp_path), "--out", str(tmp_path), "--part", "3"])
    assert said.exit_code == 2
    assert "--part must be two numbers, as 3/20" in said.output


def test_many_that_begin_at_once_share_one_secret(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: read_secret(tmp_path / "deep" / "seed"), range(64)))
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["seed"]


def test_feedback_goes_back_under_the_systems_names(tmp_path):
    moodle = tmp_path / "in" / "Ada Lovelace_17_assignsubmission_file"
    notebook(moodle / "05_demo.ipynb", RIGHT_SCALE)
    notebook(tmp_path / "in" / "weili_23_99_05_demo.ipynb", RIGHT_SCALE)
    (tmp_path / "roster.csv").write_text("id,name\ns1,Ada Lovelace\ns2,Li Wei\ns3,No Body\n")
    for out in ("first", "second"):
        report = grade_class(
            tmp_path / "in", tmp_path / out, exercises=KIT, sandbox="none", roster=tmp_path / "roster.csv",
            seed_file=tmp_path / "seed",
        )  # fmt: skip
    made = [tmp_path / out / "feedback.zip" for out in ("first", "second")]
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "Ada Lovelace_17_assignsubmission_file/feedback.html", "weili_23_99_05_demo.html",
        ]  # fmt: skip
        own = archive.read("Ada Lovelace_17_assignsubmission_file/feedback.html").decode()
    assert own == (tmp_path / "first" / "feedback" / "s1.html").read_text()
    assert report.row("s3").status == "missing"


def test_a_zip_with_a_name_of_its_own_gets_its_page_under_that_name(tmp_path):
    book = notebook(tmp_path / "05_demo.ipynb", RIGHT_SCALE)
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "upload 7.zip", "w") as archive:
        archive.write(book, "05_demo.ipynb")
    grade_class(tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none")
    with zipfile.ZipFile(tmp_path / "out" / "feedback.zip") as archive:
        assert archive.namelist() == ["upload 7.html"]
