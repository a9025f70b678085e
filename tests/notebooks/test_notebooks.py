"""The notebooks: built alike, of the agreed length, and generated copies hold no solution.

That they run is shown by nbval, in quick mode, on all of them (see .ci/run).
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from labkit.exercises import by_notebook
from labkit.grading.release import student_copy
from labkit.grading.solutions import write_answers

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
# 23, 25 and 31 say of each number what it does not prove, 22, 24 and 31 have six exercises
WORDS = {
    "53_style": (1200, 1800),
    "01_warm_up": (1000, 1550),
    "12_feature_space": (1200, 1800),
    "13_what_excites_a_unit": (1200, 1800),
    "11_filters_and_activations": (1200, 1800),
    "21_which_pixels_matter": (1200, 1800),
    "22_gradients_and_their_tricks": (1200, 1800),
    "23_learned_masks": (1200, 1800),
    "24_surrogates_and_shapley": (1200, 1800),
    "25_can_you_trust_a_heatmap": (1200, 1800),
    "31_testing_with_concepts": (1200, 1800),
    "34_looking_without_a_hypothesis": (1200, 1800),
    "35_the_detective": (1200, 1800),
    "32_dissecting_a_network": (1200, 1800),
    "33_concepts_are_vectors": (1200, 1800),
    "41_fooling_a_network": (1200, 1800),
    "43_defences_and_how_they_fall": (1200, 1800),
    "42_attacks_without_the_weights": (1200, 1800),
    "51_inverting_and_dreaming": (1200, 1800),
}
# a prediction is a cell of its own
CODE = {
    "53_style": (24, 32),
    "01_warm_up": (12, 24),
    "12_feature_space": (12, 31),
    "13_what_excites_a_unit": (12, 31),
    "11_filters_and_activations": (12, 26),
    "21_which_pixels_matter": (12, 26),
    "22_gradients_and_their_tricks": (12, 31),
    "23_learned_masks": (24, 32),
    "24_surrogates_and_shapley": (12, 26),
    "25_can_you_trust_a_heatmap": (24, 32),
    "31_testing_with_concepts": (24, 31),
    "33_concepts_are_vectors": (12, 31),
    "34_looking_without_a_hypothesis": (12, 31),
    "35_the_detective": (24, 32),
    "32_dissecting_a_network": (12, 31),
    "41_fooling_a_network": (24, 32),
    "43_defences_and_how_they_fall": (24, 32),
    "42_attacks_without_the_weights": (12, 31),
    "51_inverting_and_dreaming": (12, 31),
    "52_texture": (12, 31),
}


def load(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def texts(book: dict, kind: str) -> list[str]:
    return [source(cell) for cell in book["cells"] if cell["cell_type"] == kind]


def words(book: dict) -> int:
    prose = re.sub(r"<[^>]+>|\$\$.*?\$\$|\|?-{3,}", " ", "\n".join(texts(book, "markdown")), flags=re.DOTALL)
    return len(re.findall(r"[^\W_][\w'’-]*", prose))


both = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.stem)


@both
def test_answers_are_those_of_the_exercise_file(path):
    assert write_answers(load(path), by_notebook(path.stem)) == [], "run labkit release"


@both
def test_exercises_come_in_the_order_of_their_checks(path):
    checks = re.findall(r'^check\("([\w.]+)"', "\n".join(texts(load(path), "code")), re.MULTILINE)
    assert [exercise.id for exercise in by_notebook(path.stem)] == checks


@both
def test_it_is_a_clean_notebook(path):
    book = load(path)
    nbformat.validate(nbformat.from_dict(book))
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            ast.parse(source(cell))


@both
def test_its_length_is_what_was_agreed(path):
    book = load(path)
    low, high = WORDS.get(path.stem, (1200, 1600))
    assert low <= words(book) <= high
    low, high = CODE.get(path.stem, (12, 18))
    assert low <= len(texts(book, "code")) <= high
    assert max(len(text.splitlines()) for text in texts(book, "code")) <= 40


@both
def test_it_begins_like_all_others(path):
    lines = [line for line in texts(load(path), "code")[0].splitlines() if line.strip()]
    assert re.fullmatch(r"from labkit\.lab import (claim, )?start", lines[0])
    assert lines[1] == f'lab = start("{path.stem}")'


@both
def test_each_exercise_has_heading_stub_check_and_two_hints(path):
    book = load(path)
    prose, code = "\n".join(texts(book, "markdown")), texts(book, "code")
    exercises = by_notebook(path.stem)
    for exercise in exercises:
        cost = f"{exercise.points} points, {exercise.minutes} minutes, difficulty {exercise.difficulty}"
        heading = rf"^## \d.*\({cost}\)$"
        assert re.search(heading, prose, re.MULTILINE), exercise.id
        own = [c for c in code if c.startswith(f"def {exercise.name}(")]
        assert len(own) == 1
        assert own[0].startswith(f"def {exercise.signature}:")
        assert ast.get_docstring(ast.parse(own[0]).body[0]), "shapes and signs belong into the docstring"
        assert own[0].count("### BEGIN SOLUTION") == own[0].count("### END SOLUTION") == 1
        solution = own[0].split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
        assert 1 <= len(solution.strip().splitlines()) <= 20
        assert sum(f'check("{exercise.id}", {exercise.name})' in c for c in code) == 1
    total = sum(exercise.points for exercise in exercises)
    assert f"{total} points" in prose
    assert prose.count("<details><summary>A hint</summary>") == len(exercises)
    assert prose.count("<details><summary>A bigger hint</summary>") == len(exercises)
    assert prose.count("$$") >= 2 * (len(exercises) - 1)


@both
def test_it_asks_for_a_prediction_and_for_words(path):
    book = load(path)
    assert re.search(r"[Pp]redict|\*[^*]*\?\*", "\n".join(texts(book, "markdown")))
    asked = [
        cell
        for cell in book["cells"]
        if cell["cell_type"] == "markdown" and cell["metadata"].get("nbgrader", {}).get("grade")
    ]
    assert 1 <= len(asked) <= 2
    assert all("BEGIN SOLUTION" in source(cell) for cell in asked)


@both
def test_its_pictures_are_attached_and_small(path):
    for cell in load(path)["cells"]:
        named = set(re.findall(r"\(attachment:([\w.-]+)\)", source(cell)))
        assert named == set(cell.get("attachments", {}))
        for files in cell.get("attachments", {}).values():
            assert sum(map(len, files.values())) < 120_000
    assert not re.search(r"\]\(https?://[^)]*\.(png|jpe?g|gif)", "\n".join(texts(load(path), "markdown")))


@both
def test_the_students_copy_is_the_generated_one_and_holds_no_solution(path):
    book = load(path)
    made = student_copy(book, path.stem)
    copy = ROOT / "notebooks" / path.name
    assert load(copy) == json.loads(json.dumps(made)), "run `labkit release`"
    text = "\n".join(source(cell) for cell in made["cells"])
    assert "SOLUTION" not in text
    for cell in book["cells"]:
        for part in source(cell).split("### BEGIN SOLUTION")[1:]:
            for line in part.split("### END SOLUTION")[0].strip().splitlines():
                if len(line.strip()) > 40:
                    assert line.strip() not in text
    stubs = sum("raise NotImplementedError()" in c for c in texts(made, "code"))
    assert stubs == len(by_notebook(path.stem))


def test_every_notebook_with_exercises_has_a_solution():
    from labkit.exercises import notebooks

    assert {path.stem for path in SOLUTIONS} >= set(notebooks())
