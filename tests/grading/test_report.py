"""The pages of a graded class hold every value escaped, and no hidden case."""

import re
from pathlib import Path

import pytest
from demo import SCALE

from labkit.calls.exercise import Verdict
from labkit.checking.judge import CaseResult, ExerciseResult
from labkit.grading.course import Course
from labkit.grading.report import WORDS, class_page, feedback_page, gradescope
from labkit.grading.rows import STATUSES, ClassReport, Row

EVIL = "<script>alert('x')</script> & \"quoted\""


def evil_row():
    cases = [
        CaseResult(EVIL, "public", 1, Verdict(False, EVIL, f"{EVIL}\nsecond line")),
        CaseResult("the hidden case", "hidden", 1, Verdict(False, "values", "its difference")),
    ]
    result = ExerciseResult(EVIL, EVIL, 1.25, 4, cases, EVIL, EVIL, [EVIL])
    return Row(EVIL, EVIL, EVIL, EVIL, 1.25, 4, 2, [EVIL], [EVIL], [result], EVIL, EVIL)


def pages():
    import dataclasses

    row = evil_row()
    exercise = dataclasses.replace(SCALE, title=EVIL)
    report = ClassReport(Path("out"), [row], [exercise], EVIL, Course(EVIL))
    return {"class": class_page(report, {EVIL: "feedback/a b.html"}), "student": feedback_page(row)}


@pytest.mark.parametrize("name", ["class", "student"])
def test_every_value_is_escaped(name):
    page = pages()[name]
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;quoted&#34;" in page
    assert page.count("&lt;script&gt;") == page.count("alert(") > 5
    assert page.startswith("<!doctype html>")
    assert re.search(r"<title>.*</title>", page)


def test_a_students_page_says_how_many_hidden_cases_passed_and_nothing_of_them():
    row = evil_row()
    for text in (pages()["student"], str(gradescope(row))):
        assert "0 of 1 hidden checks passed." in text
        assert "the hidden case" not in text
        assert "its difference" not in text
    assert "1.25 of 4 points" in pages()["student"]
    assert "2 days late" in pages()["student"]


def test_marks_are_told_by_a_sign_and_a_word_beside_the_colour():
    full, some, none = (ExerciseResult("a", "A", points, 4) for points in (4, 1, 0))
    row = Row("ada", "", "", "graded", 5, 12, 0, exercises=[full, some, none])
    page = class_page(ClassReport(Path("out"), [row], [], "walls", Course()), {"ada": "feedback/ada.html"})
    assert '<td class="full">\u2713 4</td>' in page
    assert '<td class="some">~ 1 <small>missing</small></td>' in page
    assert '<td class="none">\u2717 0 <small>missing</small></td>' in page
    assert '<a href="feedback/ada.html">ada</a>' in page
    assert "1 students:\n1 graded" in page.replace("  ", "")
    assert "<title>Marks</title>" in page
    head = page[page.index("<caption>Marks") :]
    assert head.index(">total</th>") < head.index(">status</th>")  # in sight however many exercises there are


def test_what_cost_most_stands_first_and_names_students():
    wrong = [CaseResult("one", "hidden", 1, Verdict(False, "shape"))]
    rows = [
        Row(f"s{n}", "", "", "graded", 0, 4, 0, exercises=[ExerciseResult("a", "A", 0, 4, wrong)])
        for n in range(7)
    ]
    report = ClassReport(Path("out"), rows, [], "walls", Course())
    page = class_page(report, {row.student: "x" for row in rows})
    assert page.index("What cost the class most") < page.index("<caption>Marks")
    assert "7 shape (s0, s1, s2, s3, s4 and 2 more)" in page


def test_a_doubt_stands_under_to_look_at_and_one_sentence_once():
    told = [ExerciseResult(id, id.upper(), 4, 4, notes=["uses os"]) for id in "ab"]
    row = Row("ada", "", "", "graded", 8, 8, 0, exercises=told, doubts=["tells of bob as well"])
    page = class_page(ClassReport(Path("out"), [row], [], "walls", Course()), {"ada": "x"})
    below = page[page.index("To look at") :]
    assert "tells of bob as well" in below
    assert "ada, A, B: uses os" in " ".join(below.split())
    assert page.count("uses os") == 1


@pytest.mark.parametrize("status", STATUSES)
def test_a_students_page_explains_its_words(status):
    left = [CaseResult("one", "public", 1, Verdict(False, "left behind", "gradients"))]
    row = Row("ada", "", "", status, 0, 4, 0, exercises=[ExerciseResult("a", "A", 0, 4, left)])
    page = feedback_page(row)
    assert f"{status.capitalize()}: " in page
    assert "means that the call changed what it was given" in page


def test_every_word_of_a_verdict_is_explained_to_the_instructor():
    words = set(re.findall(r'``"([a-z ]+)"``', Verdict.__doc__))
    assert words | {"partly right"} == set(WORDS)
    blocked = [CaseResult("one", "hidden", 1, Verdict(False, "blocked"))]
    row = Row("ada", "", "", "graded", 0, 4, 0, exercises=[ExerciseResult("a", "A", 0, 4, blocked)])
    page = class_page(ClassReport(Path("out"), [row], [], "walls", Course()), {"ada": "x"})
    assert "<b>blocked</b>: the function calls the library" in page
    assert "<b>values</b>" not in page
