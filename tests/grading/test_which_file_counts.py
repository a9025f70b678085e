"""Which file of a student counts: copies are left aside, a written function beats a stub, doubts are told."""

import json
import zipfile

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.calls.notebook import parse_notebook
from labkit.grading.choice import choose
from labkit.grading.course import Student
from labkit.grading.grade import grade_class
from labkit.grading.submissions import find_submissions

KIT = {"05_demo": EXERCISES}
KNOWN = ["05_demo"]
STUB = 'def {}:\n    """What to do."""\n    # YOUR CODE HERE\n    raise NotImplementedError()\n'
STUBS = (STUB.format("scale_add(x, factor)"), STUB.format("gradient(model, x)"))
RIGHT = (RIGHT_SCALE, RIGHT_GRADIENT)
HELPED = "import torch\nfrom helpers import add\ndef scale_add(x, factor):\n    return add(x * factor)\n"
HELPER = "def add(x):\n    return x + 1\n"


def book(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def packed(path, *members):
    """A zip of members with the minutes at which they were saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, minute, data in members:
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 27, 20, minute, 0)), data)
    return path


@pytest.fixture(scope="module", params=["auto", "none"])
def report(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    here, right, stubs = folder / "in", book(*RIGHT), book(*STUBS)
    within = ("labs/05_demo.ipynb", 1, right)
    wrong = book(RIGHT_SCALE.replace("+ 1", "+ 2"), RIGHT_GRADIENT)
    packed(here / "checkpoint" / "l.zip", within, ("l/.ipynb_checkpoints/05_demo.ipynb", 2, wrong))
    packed(here / "autosave" / "l.zip", within, ("l/.ipynb_checkpoints/05_demo-checkpoint.ipynb", 2, wrong))
    packed(here / "new" / "l.zip", within, ("labs/05_demo.new.ipynb", 2, wrong))
    packed(here / "archive_order" / "l.zip", ("05_demo-Copy1.ipynb", 3, right), ("05_demo.ipynb", 1, stubs))
    packed(here / "stub_newer" / "l.zip", ("a/05_demo.ipynb", 1, right), ("b/05_demo.ipynb", 3, stubs))
    notebook(here / "plain" / "05_demo.ipynb", *RIGHT)
    for name in ("05_demo.new.ipynb", "05_demo.new-2.ipynb", "05_demo-checkpoint.ipynb"):
        notebook(here / "plain" / name, *STUBS)
    packed(
        here / "two_answers" / "l.zip",
        ("05_demo.ipynb", 3, right),
        ("old/05_demo.ipynb", 1, wrong),
    )
    notebook(here / "only_new" / "05_demo.new.ipynb", *RIGHT)
    notebook(here / "answer_in_new" / "05_demo.ipynb", RIGHT_SCALE, STUBS[1])
    notebook(here / "answer_in_new" / "05_demo.new.ipynb", *RIGHT)
    packed(here / "CAPITALS" / "L.ZIP", ("05_DEMO.IPYNB", 1, right))
    notebook(here / "capitals_too" / "05_DEMO.IPYNB", *RIGHT)
    notebook(here / "loose_88_05_demo.ipynb", HELPED, RIGHT_GRADIENT)
    (here / "loose_88_helpers.py").write_text(HELPER)
    notebook(here / "canvas_88_99_05_demo.ipynb", HELPED, RIGHT_GRADIENT)
    (here / "canvas_88_100_helpers-1.py").write_text(HELPER)
    notebook(here / "Moo Dle_12_assignsubmission_file_05_demo.ipynb", HELPED, RIGHT_GRADIENT)
    (here / "Moo Dle_12_assignsubmission_file_helpers.py").write_text(HELPER)
    packed(here / "zippy_77_05_demo.zip", ("05_demo.ipynb", 1, book(HELPED, RIGHT_GRADIENT)))
    (here / "zippy_77_helpers.py").write_text(HELPER)
    (here / "pdf").mkdir()
    (here / "pdf" / "05_demo.pdf").write_bytes(b"%PDF")
    (here / "page_1_2_05_demo.html").write_text("<html>")
    (here / "marks.csv").write_text("student,points\n")
    (here / "utf16").mkdir()
    (here / "utf16" / "05_demo.ipynb").write_bytes(right.encode("utf-16"))
    return grade_class(here, folder / "out", exercises=KIT, sandbox=request.param)


@pytest.mark.parametrize(
    "student",
    ["checkpoint", "autosave", "new", "archive_order", "stub_newer", "plain", "CAPITALS", "capitals_too"],
)
def test_copies_and_stubs_replace_nothing_and_leave_no_doubt(report, student):
    row = report.row(student)
    assert (row.status, row.total, row.doubts) == ("graded", 10, []), row.files


@pytest.mark.parametrize("student", ["loose_88", "canvas_88", "Moo Dle_12", "zippy_77"])
def test_files_beside_the_notebook_in_a_flat_download_are_there(report, student):
    assert (report.row(student).status, report.row(student).total) == ("graded", 10)


def test_two_different_answers_are_told_with_the_file_that_counted(report):
    row = report.row("two_answers")
    assert row.total == 10
    assert row.doubts == ["scale_add is written otherwise in old/05_demo.ipynb: 05_demo.ipynb counted"]
    assert row.doubts[0] in (report.out / "index.html").read_text()


def test_a_copy_counts_where_it_is_all_and_else_its_answers_are_told(report):
    row = report.row("only_new")
    assert (row.status, row.total) == ("graded", 10)
    assert "nothing but 05_demo.new.ipynb was handed in" in row.doubts[0]
    row = report.row("answer_in_new")
    assert (row.status, row.total) == ("partial", 4)
    assert "gradient is written only in 05_demo.new.ipynb" in row.doubts[0]


@pytest.mark.parametrize(("student", "ending"), [("pdf", ".pdf"), ("page_1", ".html")])
def test_another_kind_of_file_is_unreadable_and_has_its_page(report, student, ending):
    row = report.row(student)
    sentence = f"a {ending} was handed in, a notebook (.ipynb) or its zip is needed"
    assert (row.status, row.problems) == ("unreadable", [sentence])
    page = (report.out / "feedback" / f"{student}.html").read_text()
    assert sentence in page
    assert "what was handed in could not be read" in page


def test_the_instructors_own_table_among_the_files_is_nobody(report):
    assert "marks" not in {row.student for row in report.rows}


def test_each_line_of_an_unreadable_notebook_says_so(report):
    assert report.row("utf16").status == "unreadable"
    page = (report.out / "feedback" / "utf16.html").read_text()
    assert "nothing handed in" not in page
    assert page.count("what was handed in could not be read") == 4


def test_another_labs_import_of_the_same_name_does_not_count():
    labs = {"scale_add": "05_demo", "other": "06_other"}
    own = ("05_demo.ipynb", parse_notebook(book(*STUBS).encode(), "x"))
    newer = ("06_other.ipynb", parse_notebook(book("from torch import scale_add").encode(), "x"))
    assert choose([own, newer], "scale_add", labs) == (own, [])
    assert choose([newer], "scale_add", labs) == (None, [])
    moved = ("06_other.ipynb", parse_notebook(book(RIGHT_SCALE).encode(), "x"))
    assert choose([moved], "scale_add", labs) == (moved, [])


def test_a_newer_cell_that_cannot_be_read_is_told():
    books = [
        (file, parse_notebook(book(code).encode(), file))
        for file, code in (("a.ipynb", RIGHT_SCALE), ("b.ipynb", RIGHT_SCALE.replace("+ 1", "+ (1")))
    ]
    assert choose(books, "scale_add", {}) == (books[0], ["b.ipynb"])


CARLOS, ADA = Student("s10", "Carlos Alberto García López"), Student("s01", "Ada Lovelace")


def owners(folder, roster):
    return {one.student.id: one for one in find_submissions(folder, roster, KNOWN)}


def test_the_systems_label_decides_and_never_the_students_own_name(tmp_path):
    for roster, owner in (([ADA, CARLOS], "s10"), ([ADA], "garcíacarlos_909")):
        notebook(tmp_path / "lovelaceada_900_77000_05_demo.ipynb", *RIGHT)
        notebook(tmp_path / "garcíacarlos_909_77009_s01_05_demo.ipynb", RIGHT_SCALE)
        found = owners(tmp_path, roster)
        assert [name[:4] for name, _ in found["s01"].notebooks] == ["love"]
        assert [name[:4] for name, _ in found[owner].notebooks] == ["garc"]
        assert "tells of s01 as well" in found[owner].doubts[0]
    assert "nobody of the roster fits" in found["garcíacarlos_909"].doubts[1]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("garcíacarlos_909_77009_05_demo", "Carlos Alberto García López"),
        ("garcíalópezcarlos_909_77009_05_demo", "Carlos Alberto García López"),
        ("lópezgarcíacarlos_LATE_909_77009_05_demo", "Carlos García López"),
        ("hoathịnguyễn_908_77008_05_demo", "Nguyễn Thị Hoa"),
        ("Carlos García_4_assignsubmission_file_05_demo", "García López, Carlos"),
    ],
)
def test_part_of_a_name_fits_where_it_fits_one_alone(tmp_path, label, name):
    notebook(tmp_path / f"{label}.ipynb", *RIGHT)
    assert owners(tmp_path, [ADA, Student("s2", name)])["s2"].notebooks
    twin = Student("s3", f"{name} Ruiz")
    two = owners(tmp_path, [ADA, Student("s2", f"{name} Vega"), twin])
    assert not two["s2"].notebooks
    assert not two["s3"].notebooks


def test_two_uploaders_for_one_student_are_told(tmp_path):
    notebook(tmp_path / "lovelaceada_900_77000_05_demo.ipynb", *RIGHT)
    notebook(tmp_path / "lovelaceada_900_77001_05_demo (1).ipynb", *RIGHT)
    assert owners(tmp_path, [ADA])["s01"].doubts == []
    notebook(tmp_path / "lovelaceada_977_77002_05_demo.ipynb", *RIGHT)
    assert "came from the uploaders 900 and 977" in owners(tmp_path, [ADA])["s01"].doubts[0]


def test_a_pdf_of_one_on_the_roster_is_no_missing_one(tmp_path):
    (tmp_path / "Ada Lovelace_4_assignsubmission_file_05_demo.PDF").write_bytes(b"%PDF")
    (one,) = find_submissions(tmp_path, [ADA], KNOWN)
    assert one.problems == ["a .pdf was handed in, a notebook (.ipynb) or its zip is needed"]
    assert one.label == "Ada Lovelace_4_assignsubmission_file_05_demo"
    assert one.handed_in
