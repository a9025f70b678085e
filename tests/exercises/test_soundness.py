"""Every exercise of the course is sound, quick to check, and found by its id."""

import importlib
import re
import time
from pathlib import Path

import pytest

import labkit.exercises
from labkit.checking.audit import FEWEST, audit
from labkit.checking.check import run_public
from labkit.exercises import all_exercises, by_notebook, find

# the one whose cases draw hundreds of scenes has its own file, on networks that are rules
COURSE = [exercise for exercise in all_exercises() if not exercise.signed]


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_each_exercise_of_the_course_is_sound(exercise):
    assert audit(exercise, seed=11, fewest=FEWEST) == []
    assert find(exercise.id) is exercise


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_each_check_takes_under_a_second(exercise):
    run_public(exercise, exercise.reference)  # what the reference gives is kept from here on
    begun = time.process_time()
    run_public(exercise, exercise.reference)
    assert time.process_time() - begun < 1


def test_ids_do_not_repeat():
    ids = [exercise.id for exercise in COURSE]
    assert len(set(ids)) == len(ids)


def test_a_file_of_exercises_begins_with_its_notebook_s_name():
    folder = Path(labkit.exercises.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.stem == "__init__":
            continue
        sheet = importlib.import_module(f"labkit.exercises.{path.stem}").SHEET
        own = re.sub(r"^\d+_", "", sheet.notebook)
        assert path.stem == own or path.stem.startswith(f"{own}_"), path.name
        written = re.findall(r'^@SHEET\.exercise\(\n? *"([\w.]+)"', path.read_text("utf-8"), re.MULTILINE)
        assert [exercise.id for exercise in sheet.exercises] == written  # none is joined to it by hand


def test_unknown_notebooks_are_named():
    with pytest.raises(KeyError, match="no exercises for the notebook '99_nothing.ipynb'"):
        by_notebook("99_nothing.ipynb")


@pytest.mark.parametrize("seed", [3, 2024])
def test_a_length_without_its_division_or_its_columns_ends_for_any_draw(seed):
    """Of some pictures another line than the reference's never fell below 1 / e: an error, and no hint."""
    assert audit(find("style.autocorrelation_length"), seed=seed) == []
