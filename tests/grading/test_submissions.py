"""Whose a file is, however a class was handed in."""

import pytest
from demo import notebook

from labkit.grading.course import Student
from labkit.grading.submissions import find_submissions

KNOWN = ["01_warm_up", "21_which_pixels_matter"]


def test_three_ways_of_handing_in(tmp_path):
    roster = [
        Student("ada", "Ada L", "ada@x.org"),
        Student("bob", "Bob B", "bob@x.org"),
        Student("cy", "Cy", ""),
    ]
    notebook(tmp_path / "folders" / "ada" / "01_warm_up.ipynb", "a = 1")
    notebook(tmp_path / "tree" / "ada" / "lab1" / "01_warm_up.ipynb", "a = 1")
    notebook(tmp_path / "tree" / "ada" / "lab1" / ".ipynb_checkpoints" / "01_warm_up.ipynb", "b = 1")
    notebook(tmp_path / "flat" / "ada_01_warm_up.ipynb", "a = 1")
    notebook(tmp_path / "flat" / "BobB_77_late_01_warm_up.ipynb", "b = 1")
    notebook(tmp_path / "flat" / "stranger_01_warm_up.ipynb", "c = 1")
    for way in ("folders", "tree", "flat"):
        found = {s.student.id: s for s in find_submissions(tmp_path / way, roster, KNOWN)}
        assert [name for name, _ in found["ada"].notebooks] == [
            "ada_01_warm_up.ipynb" if way == "flat" else "01_warm_up.ipynb"
        ]
        assert found["cy"].empty
    assert found["bob"].notebooks[0][1].defines("b")
    assert found["stranger"].notebooks[0][1].defines("c")
    with pytest.raises(FileNotFoundError, match="no folder of submissions at"):
        find_submissions(tmp_path / "nowhere", roster, KNOWN)


def test_names_in_any_alphabet_own_their_files_and_no_other(tmp_path):
    roster = [Student("s1", "李 雷"), Student("s2", "Žižek, Slavoj"), Student("s3", "Ann Sent")]
    for file in ("李雷_7_01_warm_up", "ŽižekSlavoj_8_01_warm_up", "AnnSent_9_01_warm_up"):
        notebook(tmp_path / f"{file}.ipynb", "a = 1")
    found = find_submissions(tmp_path, roster, KNOWN)
    assert [[name[:3] for name, _ in one.notebooks] for one in found] == [["李雷_"], ["Žiž"], ["Ann"]]
