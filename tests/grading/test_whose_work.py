"""Whose work it is, where a zip or a name says something else; and zips that are damaged, nested or huge."""

import io
import json
import os
import random
import unicodedata
import zipfile

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.grading import parcel as parcels
from labkit.grading.course import Student
from labkit.grading.grade import grade_class
from labkit.grading.submissions import find_submissions
from labkit.grading.submit import receipt_of

KIT = {"05_demo": EXERCISES}
ROSTER = [Student("alice", "Alice Ash", "alice@x.org"), Student("mallory", "Mallory Mill")]


def book(code="a = 1"):
    return json.dumps({"cells": [{"cell_type": "code", "source": code}]}).encode()


def zipped(path, student=None, code="a = 1", **extra):
    """A zip as labkit submit writes it, of whom it may say."""
    import hashlib

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("05_demo.ipynb", book(code))
        for name, data in extra.items():
            archive.writestr(name.replace("__", "."), data)
        if student:
            manifest = {"student": student, "sha256": hashlib.sha256(book(code)).hexdigest()}
            archive.writestr("submission.json", json.dumps({**manifest, "receipt": receipt_of(manifest)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    return path


def owners(folder, roster=ROSTER):
    return {s.student.id: (len(s.notebooks), s.doubts) for s in find_submissions(folder, roster, ["05_demo"])}


def test_a_zip_that_names_another_student_is_graded_as_its_uploaders_and_told(tmp_path):
    notebook(tmp_path / "alice_05_demo.ipynb", "a = 1")
    zipped(tmp_path / "millmallory_7_8_05_demo.zip", "alice")
    found = owners(tmp_path)
    assert (found["alice"][0], found["mallory"][0]) == (1, 1)
    assert "says that it is alice's" in found["mallory"][1][0]


def test_a_file_name_that_holds_two_students_is_the_first_ones_and_told(tmp_path):
    notebook(tmp_path / "millmallory_7_8_alice_05_demo.ipynb", "a = 1")
    notebook(tmp_path / "Alice Ash_3_assignsubmission_file" / "mallory_05_demo.ipynb", "a = 1")
    found = owners(tmp_path)
    assert (found["alice"][0], found["mallory"][0]) == (1, 1)
    assert "tells of alice as well" in found["mallory"][1][0]
    assert "tells of mallory as well" in found["alice"][1][0]


def test_where_nobodys_label_fits_the_zip_is_believed_once_and_told(tmp_path):
    os.utime(zipped(tmp_path / "q1_05_demo.zip", "alice"), (1, 1))
    os.utime(zipped(tmp_path / "q2_05_demo.zip", "alice"), (2, 2))
    found = owners(tmp_path)
    assert found["alice"] == (1, ["q1_05_demo.zip is taken as alice's on its own word alone"])
    assert found["q2"][0] == 1
    assert {id: count for id, (count, _) in owners(tmp_path, []).items()} == {"alice": 1, "q2": 1}


def test_a_receipt_that_does_not_fit_is_told(tmp_path):
    zipped(tmp_path / "alice_05_demo.zip", "alice")
    assert owners(tmp_path)["alice"] == (1, [])
    with zipfile.ZipFile(tmp_path / "alice_05_demo.zip") as archive:
        manifest = json.loads(archive.read("submission.json"))
    for change, words in (({"student": "mallory"}, "receipt"), ({"sha256": "0"}, "receipt")):
        changed = {**manifest, **change}
        if words == "receipt":
            zipped(tmp_path / "alice_05_demo.zip", None, submission__json=json.dumps(changed))
        assert any(words in doubt for doubt in owners(tmp_path)["alice"][1])
    other = {**manifest, "sha256": "0"}
    other["receipt"] = receipt_of(other)
    zipped(tmp_path / "alice_05_demo.zip", None, submission__json=json.dumps(other))
    assert "is not the one" in owners(tmp_path)["alice"][1][0]


def test_names_composed_and_taken_apart_are_one(tmp_path):
    roster = [Student("s1", unicodedata.normalize("NFC", "Jürgen Öl")), Student("s2", "王伟")]
    notebook(tmp_path / unicodedata.normalize("NFD", "Jürgen Öl_1_05_demo.ipynb"), "a = 1")
    notebook(tmp_path / "Anna_05_demo.ipynb", "a = 1")
    assert {k: v[0] for k, v in owners(tmp_path, roster).items()} == {"s1": 1, "s2": 0, "Anna": 1}


def test_a_folder_named_in_latin_1_is_read(tmp_path):
    folder = os.fsencode(tmp_path) + b"/M\xfcller"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    (tmp_path / os.fsdecode(b"M\xfcller") / os.fsdecode(b"05_demo\xfc.ipynb")).write_text("{not json")
    notebook(tmp_path / "ada" / "05_demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
    report = grade_class(tmp_path, tmp_path.parent / "out", exercises=KIT, sandbox="none")
    assert {row.student: row.status for row in report.rows} == {"Müller": "unreadable", "ada": "graded"}


def test_one_flipped_bit_stops_nobody(tmp_path):
    whole = zipped(tmp_path / "whole.zip", "ada", RIGHT_SCALE * 20).read_bytes()
    draw = random.Random(0)
    for number in range(300):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path = tmp_path / "flipped" / "s" / "x.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        (one,) = find_submissions(tmp_path / "flipped", [], ["05_demo"])
        assert not one.empty, number


def test_a_damaged_member_costs_itself(tmp_path):
    path = zipped(tmp_path / "ada" / "x.zip", None, RIGHT_SCALE, bad__ipynb=b"B" * 500)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"B" * 500, b"B" * 499 + b"C"))
    (one,) = find_submissions(tmp_path, [], ["05_demo"])
    assert len(one.notebooks) == 1
    assert "bad.ipynb cannot be read" in one.problems[0]


def test_a_zip_within_a_zip_and_the_files_beside_the_notebook(tmp_path):
    inner = zipped(tmp_path / "inner.zip", "ada", RIGHT_SCALE, helper__py="ONE = 1").read_bytes()
    zipped_in = tmp_path / "in" / "ada" / "outer.zip"
    zipped_in.parent.mkdir(parents=True)
    with zipfile.ZipFile(zipped_in, "w") as archive:
        archive.writestr("deep/inner.zip", inner)
    (one,) = find_submissions(tmp_path / "in", [], ["05_demo"])
    assert one.notebooks[0][1].defines("scale_add")
    assert (one.files, one.doubts) == ({"helper.py": "ONE = 1"}, [])


def test_a_zip_has_a_limit_in_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    zipped(tmp_path / "ada" / "x.zip", None, **{f"n{i}__ipynb": book("x" * 200) for i in range(20)})
    (one,) = find_submissions(tmp_path, [], ["05_demo"])
    assert 1 <= len(one.notebooks) < 6
    assert "a zip may hold" in one.problems[0]
    assert all(len(digest) == 32 for digest in one.raw)


def test_a_stray_notebook_changes_nobodys_total(tmp_path):
    kit = {"05_demo": EXERCISES[:1], "06_other": EXERCISES[1:]}
    for student in ("ada", "bob", "cy"):
        notebook(tmp_path / "in" / student / "05_demo.ipynb", RIGHT_SCALE)
    notebook(tmp_path / "in" / "cy" / "06_other.ipynb", RIGHT_GRADIENT)
    report = grade_class(tmp_path / "in", tmp_path / "out", exercises=kit, sandbox="none")
    assert [(row.status, row.total, row.out_of) for row in report.rows] == [("graded", 4, 4)] * 3
    assert "handed in 06_other as well" in report.row("cy").doubts[0]
    assert "cy: handed in 06_other as well" in (tmp_path / "out" / "index.html").read_text()
    (tmp_path / "c.toml").write_text('notebooks = ["05_demo", "06_other"]')
    both = grade_class(
        tmp_path / "in", tmp_path / "out", exercises=kit, sandbox="none", course=tmp_path / "c.toml"
    )
    assert both.row("cy").total == both.row("ada").out_of == 10


def test_a_file_whose_name_no_system_takes_costs_itself(tmp_path):
    extra = {f"{'x' * 300}__py": "", "helper__py": "ONE = 1"}
    code = "from helper import ONE\n" + RIGHT_SCALE.replace("+ 1", "+ ONE")
    zipped(tmp_path / "in" / "ada" / "x.zip", None, code, **extra)
    report = grade_class(
        tmp_path / "in", tmp_path / "out", exercises={"05_demo": EXERCISES[:1]}, sandbox="none"
    )
    assert (report.row("ada").status, report.row("ada").total) == ("graded", 4)


def test_forty_megabytes_of_outputs_are_read(tmp_path):
    cell = {"cell_type": "code", "source": RIGHT_SCALE, "outputs": [{"text": "x" * (40 << 20)}]}
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "05_demo.ipynb").write_text(json.dumps({"cells": [cell]}))
    (one,) = find_submissions(tmp_path, [], ["05_demo"])
    assert one.notebooks[0][1].defines("scale_add")
