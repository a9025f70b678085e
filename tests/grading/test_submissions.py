"""Whose a file is, however a class was handed in."""

import pytest
from demo import notebook

from labkit.grading.course import Student
from labkit.grading.roster import owner_of
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


ROSTER = [
    Student("s1", "Li Wei"),
    Student("s2", "Li Weining"),
    Student("s3", "Ann Sent", "ann@x.org"),
    Student("s4", "Jo", "joann@x.org"),
    Student("01", "Bob"),
    Student("77", "Lovelace, Ada"),
    Student("s-8", "Anne-Marie O'Neill"),
    Student("901", "Cy Berg"),
    Student("s-10", "Ann Lee"),
]


@pytest.mark.parametrize(
    ("label", "owner"),
    [
        ("LiWeining_8_assignsubmission_file_01_warm_up", "s2"),
        ("Li Wei_8_assignsubmission_file", "s1"),
        ("joann@x.org_01_warm_up", "s4"),
        ("ann@x.org_01_warm_up", "s3"),
        ("Bob_01_warm_up", "01"),
        ("Cyd_01_warm_up", None),
        ("Ada Lovelace_123_assignsubmission_file", "77"),
        ("lovelaceada_123_456_01_warm_up-2", "77"),
        ("lovelaceada_LATE_123_901_01_warm_up", "77"),
        ("77_01_warm_up", "77"),
        ("s-8_01_warm_up (1)", "s-8"),
        ("Anne-Marie O'Neill_5_x", "s-8"),
        ("01_warm_up_77", "77"),
        ("01_warm_up", None),
        ("Li_01_warm_up", None),
        ("Liwei_01_warm_up", "s1"),
        ("Joann Lee_5_assignsubmission_file", None),
        ("leejoann_81001_55501_01_warm_up", None),
        ("leeann_81001_55501_01_warm_up", "s-10"),
        ("Lovelace_Ada_alovelace_4711", "77"),  # as ILIAS does
    ],
)
def test_whole_words_tell_whose_a_label_is(label, owner):
    found = owner_of(label, ROSTER, KNOWN)
    assert found.id == owner if owner else found not in ROSTER


def test_of_two_students_of_one_name_nobody_is_guessed():
    twins = [Student("s1", "Li Wei"), Student("s2", "Wei Li")]
    assert owner_of("liwei_1_01_warm_up", twins, KNOWN).id == "liwei_1_01_warm_up"
    assert owner_of("s2_liwei_01_warm_up", twins, KNOWN).id not in ("s1",)


def test_folders_are_matched_as_files_are(tmp_path):
    notebook(tmp_path / "Ada Lovelace_123_assignsubmission_file" / "01_warm_up.ipynb", "a = 1")
    (tmp_path / "Ann Sent_7_assignsubmission_file").mkdir()
    notebook(tmp_path / "someone else" / "01_warm_up.ipynb", "a = 1")
    found = {one.student.id: len(one.notebooks) for one in find_submissions(tmp_path, ROSTER, KNOWN)}
    assert found["77"] == 1
    assert found["someone else"] == 1
    assert set(found) == {*(student.id for student in ROSTER), "someone else"}
