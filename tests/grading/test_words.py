"""Answers in words are collected to be read, and marks by hand come from a plain file."""

import csv
import json

import pytest
from demo import EXERCISES, RIGHT_SCALE, notebook

from labkit.grading.grade import grade_class
from labkit.grading.words import questions_in_words

KIT = {"05_demo": EXERCISES[:1]}


@pytest.fixture
def grade(tmp_path):
    for student, text in (("ada", "Because <b>it</b> adds."), ("bob", "*Your answer here.*")):
        path = notebook(tmp_path / "in" / student / "05_demo.ipynb", RIGHT_SCALE)
        book = json.loads(path.read_text())
        about = {"nbgrader": {"grade_id": "demo_free_1", "solution": True}}
        book["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "Why does <i>it</i> add?"})
        book["cells"].append({"cell_type": "markdown", "metadata": about, "source": text})
        path.write_text(json.dumps(book))
    (tmp_path / "roster.csv").write_text("id,name\nada,Ada Lovelace\nbob,Bob\n")
    (tmp_path / "course.toml").write_text('[words]\n"demo_free_1" = 3')

    def run(marks=None):
        (tmp_path / "marks.csv").write_text(marks or "student,question,points,comment\n")
        return grade_class(
            tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none",
            course=tmp_path / "course.toml", roster=tmp_path / "roster.csv", marks=tmp_path / "marks.csv",
        )  # fmt: skip

    return run


def test_what_was_written_stands_on_one_page(tmp_path, grade):
    grade()
    page = (tmp_path / "out" / "words.html").read_text()
    assert "Because &lt;b&gt;it&lt;/b&gt; adds." in page
    assert "bob" not in page
    assert "<h3>ada Ada Lovelace</h3>" in page
    assert "Why does &lt;i&gt;it&lt;/i&gt; add?" in page
    assert "demo_free_1, 3 points" in page
    assert 'href="words.csv"' in page
    assert 'href="words.html"' in (tmp_path / "out" / "index.html").read_text()


def test_marks_by_hand_count_and_nothing_is_graded_again_for_them(tmp_path, grade):
    assert [(row.total, row.out_of) for row in grade().rows] == [(4, 7), (4, 7)]
    marks = (
        'student,question,points,comment\nada,demo_free_1,2.5,"Good, short."\n'
        "bob,demo.scale_add,1,copied\nbob,demo_free_1,,\n"
    )
    report = grade(marks)
    assert report.resumed == 2
    assert [row.total for row in report.rows] == [6.5, 1]
    with open(tmp_path / "out" / "grades.csv", newline="") as file:
        assert [row["demo_free_1"] for row in csv.DictReader(file)] == ["2.5", "0.0"]
    assert report.notices == []
    assert "2.5 of 3. Good, short." in (tmp_path / "out" / "feedback" / "ada.html").read_text()
    assert "marked by hand: copied" in (tmp_path / "out" / "feedback" / "bob.html").read_text()
    assert [row.total for row in grade().rows] == [4, 4]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ada,demo_free_1,40,", "line 2 of .* gives ada 40 points for demo_free_1, which is worth 3"),
        ("bob,demo.scale_add,4.5,", "line 2 of .* gives bob 4.5 points for demo.scale_add, which is worth 4"),
        ("ada,demo_free_1,-1,", "line 2 of .* gives the points '-1' to ada"),
        ("ada,demo_free_1,1,\nada,demo_free_1,2,", "lines 2 and 3 of .* give ada 1 and 2 points"),
        ("adda,demo_free_1,1,", "line 2 .* names the student 'adda'.*Did you mean 'ada'"),
        ("ada,demo_free_2,1,", "names the question 'demo_free_2'.*Did you mean 'demo_free_1'"),
        ("ada,demo_free_1,many,", "line 2 of the marks .* gives the points 'many'"),
    ],
)
def test_a_mark_that_fits_nothing_is_refused(grade, line, words):
    with pytest.raises(ValueError, match=words):
        grade(f"student,question,points,comment\n{line}\n")


def test_marks_without_their_columns_are_refused(grade):
    with pytest.raises(ValueError, match="have no column points, question"):
        grade("student,marks\nada,1\n")


def test_an_answer_without_a_mark_is_called_so_wherever_it_counts_as_nothing(tmp_path, grade):
    report = grade()
    assert report.notices == [
        "1 answer in words is not marked yet, and the totals count them as 0: demo_free_1 (1)."
    ]
    index = (tmp_path / "out" / "index.html").read_text()
    assert report.notices[0] in index
    assert "<small>not marked yet</small>" in index
    ada, bob = ((tmp_path / "out" / "feedback" / f"{name}.html").read_text() for name in ("ada", "bob"))
    assert "not marked yet, worth 3" in ada
    assert "so far: demo_free_1 is not marked yet" in " ".join(ada.split())
    assert "0 of 3. not answered" in bob
    assert "so far" not in bob
    scores = json.loads((tmp_path / "out" / "gradescope" / "ada.json").read_text())
    assert scores["output"] == "status: graded; not marked yet: demo_free_1"
    with open(tmp_path / "out" / "grades.csv", newline="") as file:
        assert [row["demo_free_1"] for row in csv.DictReader(file)] == ["", "0.0"]


def test_a_sheet_to_fill_in_is_written_and_loses_nothing_that_was_filled_in(tmp_path, grade):
    sheet = tmp_path / "out" / "words.csv"
    grade()
    assert sheet.read_text("utf-8-sig") == "student,question,points,comment\nada,demo_free_1,,\n"
    filled = "student;question;points;comment\nada;demo_free_1;2,5;gut\n"
    sheet.write_text(filled)
    report = grade()
    assert sheet.read_text() == filled
    assert f"words.csv holds 1 marks that do not count yet: --marks {sheet}." in report.notices
    report = grade(filled + "bob;demo.scale_add;1;\n")
    assert [row.total for row in report.rows] == [6.5, 1]
    assert report.notices == []
    assert sheet.read_text("utf-8-sig").splitlines()[1:] == [
        "ada,demo_free_1,2.5,gut",
        "bob,demo.scale_add,1,",
    ]
    sheet.write_text("points\n")
    assert "words.csv is left as it is: the marks" in grade().notices[-1]
    assert sheet.read_text() == "points\n"


def test_the_kits_own_notebooks_tell_a_question_that_nobody_has_kept(tmp_path):
    from pathlib import Path

    kit = Path(__file__).resolve().parents[2] / "notebooks"
    found = questions_in_words([], kit)
    assert found["warm_up_free_1"].startswith("**In your own words.** Take one channel")
    assert all(found.values())


def test_cells_for_words_that_a_notebook_has_lost_are_told(tmp_path, grade):
    path = tmp_path / "in" / "bob" / "05_demo.ipynb"
    book = json.loads(path.read_text())
    for cell in book["cells"]:
        cell["metadata"] = {}
    path.write_text(json.dumps(book))
    doubts = {row.student: row.doubts for row in grade().rows}
    assert doubts["ada"] == []
    assert "were not found in 05_demo (demo_free_1)" in doubts["bob"][0]


def test_an_empty_copy_does_not_take_an_answers_place(tmp_path, grade):
    empty = (tmp_path / "in" / "bob" / "05_demo.ipynb").read_text()
    (tmp_path / "in" / "ada" / "05_demo-Copy1.ipynb").write_text(empty)
    grade()
    assert "adds." in (tmp_path / "out" / "words.html").read_text()
