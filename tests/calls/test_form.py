"""The form of an exercise: one answer, edits of it, cases from one draw."""

from __future__ import annotations

import pytest
import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet, answer_of, edited, hidden
from labkit.checking.audit import audit

FACTOR = 3


def cases(draw):
    yield Case("two rows", (draw.numbers(2, 3), draw.number(1, 2)))
    yield Case("one row", (draw.numbers(1, 3), draw.number(2, 3)), probe="both")


def double(x, y):
    return x * 2


MISTAKES = (
    ("x * y", "x + y", "Multiply."),
    ("+ FACTOR", "", "Add the factor."),
    ({"FACTOR": "y", "x * y": "x * FACTOR"}, "The two are exchanged."),
    (double, "Twice is not asked for."),
)


def sheet(mistakes=MISTAKES):
    made = Sheet("99_test")

    @made.exercise("demo.times", "Times", points=3, minutes=1, difficulty=1, cases=cases, mistakes=mistakes)
    def times(x, y):
        """The product, and the factor of this file.

        x: any shape; y: a number.
        """
        return x * y + FACTOR

    return made


def test_an_exercise_is_read_from_its_answer():
    (exercise,) = sheet().exercises
    assert exercise.signature == "times(x, y)"
    assert exercise.answer[0].startswith('def times(x, y):\n    """The product')
    assert exercise.answer[1] == "    return x * y + FACTOR"
    assert audit(exercise, fewest=4) == []
    assert exercise.reference(torch.ones(1), 2.0).item() == 5


def test_a_misconception_runs_among_the_names_of_its_file():
    wrong = {one.name: one.function for one in sheet().exercises[0].misconceptions}
    assert set(wrong) == {"x + y", "no + FACTOR", "y; x * FACTOR", "double"}
    assert wrong["x + y"](4, 5) == 9 + FACTOR
    assert wrong["no + FACTOR"](4, 5) == 20
    assert wrong["y; x * FACTOR"](4, 5) == 4 * FACTOR + 5
    assert wrong["double"](4, 5) == 8


@pytest.mark.parametrize(("old", "times"), [("x - y", 0), ("x", 1), (" ", 9)])
def test_an_edit_matches_the_body_once_and_never_the_docstring(old, times):
    function = sheet().exercises[0].reference
    if times == 1:
        assert edited(function, {"x": "y"})(4, 5) == 25 + FACTOR, "the docstring holds an x, too"
        return
    with pytest.raises(
        ValueError, match=f"an edit of times must match its body once; .* stands there {times} times"
    ):
        edited(function, {old: "0"})


def test_mistakes_of_one_name_are_refused():
    with pytest.raises(
        ValueError, match=r"the mistakes of demo\.times must differ; 'x \+ y' stands there twice"
    ):
        sheet((*MISTAKES, ("x * y", "x + y", "Again.")))


def test_an_answer_has_a_body():
    def empty():
        """Nothing."""

    with pytest.raises(ValueError, match="empty must have a body below its docstring"):
        answer_of(empty)


def test_public_and_hidden_cases_are_of_one_kind_in_both_precisions():
    (exercise,) = sheet().exercises
    public, hidden = exercise.public(), exercise.hidden(4)
    assert [case.name for case in public] == ["two rows", "one row"]
    assert [case.name for case in hidden] == ["two rows", "one row"] * 2
    for group in (public, hidden):
        assert {case.args[0].dtype for case in group} == {torch.float32, torch.float64}
    assert [case.probe for case in hidden] == [None, "both", None, None], "what is probed can be forged"
    drawn = [float(case.args[0][0, 0]) for case in (*public, *hidden, *exercise.hidden(5))]
    assert len(set(drawn)) == len(drawn)


def test_a_draw_is_the_same_again_and_its_networks_are_of_its_dtype():
    first, again = (Draw("one", torch.float32) for _ in range(2))
    assert torch.equal(first.pictures(2, 2), again.pictures(2, 2))
    assert (first.index(9), first.pick("a", "b"), first.number(0, 1)) == (
        again.index(9), again.pick("a", "b"), again.number(0, 1),
    )  # fmt: skip
    assert torch.equal(first.masks(8), again.masks(8))
    net = first.net("bends").build()
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    for a, b in zip(net.parameters(), again.net("bends").build().parameters(), strict=True):
        assert torch.equal(a, b)


def test_of_the_hidden_cases_the_one_that_fails_is_probed_and_no_other():
    def more(draw):
        yield from cases(draw)
        yield Case("a network that fails", (draw.net("nested", stumbles=True),), probe="both", fails=True)

    made = hidden(more, "demo.times", 4)
    assert [(case.probe, case.fails) for case in made if case.probe or case.fails] == [("both", True)]
    assert len(made) == 5
