"""Totals go into the learning system's own table, to the right student, and nothing else in it changes."""

import pytest

from labkit.grading.course import Course
from labkit.grading.export import fill_template
from labkit.grading.rows import ClassReport, Row


def report(tmp_path, name=""):
    rows = [
        Row("s1", "Ada Lovelace", "ada@x.org", "graded", 7.5, 10, 0),
        Row("s2", "Li Wei", "", "graded", 3, 10, 0),
        Row("s3", "Li Wei", "", "missing", 0, 10, 0),
        Row("s9", "No Body", "", "graded", 1, 10, 0),
    ]
    return ClassReport(tmp_path / "out", rows, [], "walls", Course(name))


def filled(tmp_path, text, name="", scale=False, warned=False):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8-sig")
    made = fill_template(report(tmp_path, name), path, scale)
    return made.path.read_text().split("\n"), made.warnings if warned else made.absent


def test_moodles_worksheet(tmp_path):
    head = "Identifier,Full name,Email address,Status,Grade,Maximum Grade"
    lines, left = filled(
        tmp_path,
        f'{head}\nParticipant 7,Ada Lovelace,ada@x.org,"Submitted, late",,10\nParticipant 8,Wei Li,,,5,10\n'
        "Participant 9,Else Where,e@x.org,,4,10\n",
    )
    assert lines[:2] == [head, 'Participant 7,Ada Lovelace,ada@x.org,"Submitted, late",7.5,10']
    assert lines[2:4] == ["Participant 8,Wei Li,,,3,10", "Participant 9,Else Where,e@x.org,,4,10"]
    assert left == ["s9"]


CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Lab 1 (41){}\n    Points Possible,,,,,10{}\n"
    '"Lovelace, Ada",11,,ada@x.org,A,{}\n"Wei, Li",12,s2,li,A,{}\n'
)


def test_canvas_gradebook(tmp_path):
    lines, _ = filled(tmp_path, CANVAS.format("", "", "", ""))
    assert lines[2:4] == ['"Lovelace, Ada",11,,ada@x.org,A,7.5', '"Wei, Li",12,s2,li,A,3']
    two = CANVAS.format(",Lab 2 (42)", ",10", ",8", ",9")
    with pytest.raises(ValueError, match="has 2 assignments .*Give the course file the name"):
        filled(tmp_path, two)
    lines, _ = filled(tmp_path, two, "Lab 2")
    assert lines[3] == '"Wei, Li",12,s2,li,A,,3'


def test_another_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither Moodle's grading worksheet nor Canvas' gradebook"):
        filled(tmp_path, "a,b\n1,2\n")


GERMAN = (
    "ID,Vollständiger Name,E-Mail-Adresse,Status,Bewertung,Bestwertung\n"
    'Teilnehmer/in441000,Ada Lovelace,ada@x.org,Abgegeben,,"{0}"\nTeilnehmer/in441001,Wei Li,,,,"{0}"\n'
)


def test_a_german_worksheet_is_filled_with_commas(tmp_path):
    lines, warnings = filled(tmp_path, GERMAN.format("10,00"), warned=True)
    assert lines[1:3] == [
        'Teilnehmer/in441000,Ada Lovelace,ada@x.org,Abgegeben,"7,5","10,00"',
        'Teilnehmer/in441001,Wei Li,,,3,"10,00"',
    ]
    assert warnings == []


def test_another_maximum_is_told_and_no_total_above_it_is_written(tmp_path):
    lines, (warning,) = filled(tmp_path, GERMAN.format("5,00"), warned=True)
    assert [line.split(",")[4] for line in lines[1:3]] == ["", "3"]
    assert warning == (
        "The maximum in t.csv is 5, and the course's is 10: set it to 10 in the learning system, or scale "
        "the totals with --scale. The totals above 5 were left out: s1."
    )
    lines, (warning,) = filled(tmp_path, GERMAN.format("5,00"), scale=True, warned=True)
    assert 'Abgegeben,"3,75",' in lines[1]
    assert ',"1,5",' in lines[2]
    assert warning.endswith("the totals were multiplied by 5/10.")
    lines, (warning,) = filled(tmp_path, CANVAS.format("", "", "", "").replace(",10\n", ",20\n"), warned=True)
    assert "is 20, and the course's is 10" in warning


def test_nothing_is_scaled_to_a_maximum_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="names no maximum that totals could be scaled to"):
        filled(tmp_path, "Identifier,Full name,Grade\nParticipant 7,Ada Lovelace,\n", scale=True)
