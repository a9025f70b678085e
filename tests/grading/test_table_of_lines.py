"""The table in README.md beside this names tests that exist; the guide for instructors can be followed."""

import ast
import re
from pathlib import Path

import pytest
from bad_submissions import LOST, STOPPERS

from labkit.grading.course import read_course

ROOT = Path(__file__).resolve().parents[2]
TABLE = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in Path(__file__).with_name("README.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| line")
]
NAMED = sorted({tuple(name.split("::")) for row in TABLE for name in re.findall(r"`(\S+::\w+)`", row[2])})


def test_every_line_has_its_kind_and_a_test_or_says_why_not():
    lines = [line for line, _, _ in TABLE if line]
    assert len(lines) == len(set(lines)) == 10
    for _, kind, tests in TABLE:
        assert kind
        assert "::" in tests or tests.startswith("no test: ")


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_exists(file):
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for own, name in NAMED if own == file} <= there


def test_every_bad_submission_is_in_the_table_and_every_one_of_the_table_is_there():
    quoted = {
        case
        for _, _, tests in TABLE
        if "test_status_and_marks`" in tests
        for case in re.findall('"([^"]+)"', tests)
    }
    assert quoted == {*STOPPERS, *LOST}


def test_the_guide_says_what_an_instructor_needs_and_its_course_file_is_read(tmp_path):
    readme = (ROOT / "README.md").read_text("utf-8")
    guide = readme.split("## For instructors")[1].split("\n## ")[0]
    for word in ("--roster", "--course", "--again", "Gradescope", "gradescope/", "--marks", "--export"):
        assert word.lower() in guide.lower(), word
    (example,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    path = tmp_path / "course.toml"
    path.write_text(re.sub("(?m)^  ", "", example), "utf-8")
    course = read_course(path)
    assert course.extensions
    assert course.deadline
    assert course.points
    assert course.dropped
