"""Hidden cases stay hidden from those who look for them, and are new at each hand-in."""

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, SCALE, notebook

from labkit.grading import student as students
from labkit.grading.grade import grade_class

KIT = {"05_demo": EXERCISES}
LOOK = """
import sys, torch
def scale_add(x, factor):
    found, frame = [], sys._getframe()
    while frame is not None:
        job = frame.f_locals.get("job")
        if isinstance(job, dict) and "cases" in job:
            found = [float(case["args"][1]) for _, case in job["cases"]]
        frame = frame.f_back
    {end}
"""
ENDS = {
    "raises": "raise ValueError('LE' 'AK' + str(found))",
    "pretends to be blocked": (
        "e = ValueError('LE' 'AK' + str(found))\n    if 2.0 in found: return x\n"
        "    e.labkit_blocked = True\n    raise e"
    ),
    "returns": "return 'LE' 'AK' + str(found)",
}


@pytest.mark.parametrize("how", ENDS)
def test_no_page_says_what_a_hidden_case_gave(tmp_path, how):
    """The public cases have the factors 2 and 3, the hidden one 2 to 8 by the seed."""
    notebook(tmp_path / "in" / "eve" / "05_demo.ipynb", LOOK.format(end=ENDS[how]), RIGHT_GRADIENT)
    report = grade_class(tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none")
    assert report.row("eve").total == 6
    for path in ("feedback/eve.html", "gradescope/eve.json"):
        text = (tmp_path / "out" / path).read_text()
        assert "LEAK[2.0, 3.0]" in text or how != "raises"
        assert "LEAK" not in text.replace("LEAK[2.0, 3.0]", "")


def test_the_seed_is_new_at_each_hand_in_and_the_same_when_graded_again(tmp_path, monkeypatch):
    seeds = []
    judge = students.Judge
    monkeypatch.setattr(students, "Judge", lambda e, seed=None: seeds.append(seed) or judge(e, seed))

    def grade(code):
        notebook(tmp_path / "in" / "ada" / "05_demo.ipynb", code)
        kit = {"05_demo": (SCALE,)}
        grade_class(tmp_path / "in", tmp_path / "out", exercises=kit, sandbox="none", resume=False)
        return seeds[-1]

    first = grade(RIGHT_SCALE)
    assert grade(RIGHT_SCALE) == first
    assert grade(RIGHT_SCALE + "# again") != first
