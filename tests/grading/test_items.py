"""The item analysis: the exercise that cost the class most stands first, with the mistake that did it."""

from labkit.checking.judge import ExerciseResult
from labkit.grading.items import Mistake, item_analysis
from labkit.grading.rows import Row


def row(status, *results):
    exercises = [
        ExerciseResult(id, id.upper(), points, 4, misconception=name, hint=f"hint of {name}")
        for id, points, name in results
    ]
    return Row("ada", "", "", status, 0, 8, 0, exercises=exercises)


def test_the_costliest_comes_first_and_who_handed_in_nothing_does_not_count():
    first, second = item_analysis(
        [
            row("graded", ("a", 4, ""), ("b", 0, "m")),
            row("graded", ("a", 3, "k"), ("b", 1.5, "m")),
            row("graded", ("a", 4, ""), ("b", 0, "n")),
            row("missing", ("a", 0, ""), ("b", 0, "")),
        ]
    )
    assert (first.id, first.title, first.students, first.lost) == ("b", "B", 3, 10.5)
    assert first.mistakes == [Mistake("m", "hint of m", 2, 6.5), Mistake("n", "hint of n", 1, 4)]
    assert second.share == 11 / 12
    assert first.words == {"missing": 3}
