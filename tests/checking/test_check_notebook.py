"""`labkit check`: a notebook's exercises in a clean process, and what a clean run would stumble over."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from demo import EXERCISES, RIGHT_GRADIENT, RIGHT_SCALE, notebook

from labkit.checking.notebook import check_notebook


def test_a_notebook_is_checked_in_a_clean_process(tmp_path):
    path = notebook(tmp_path / "05_demo.ipynb", RIGHT_SCALE.replace("import torch\n", ""), RIGHT_GRADIENT)
    report = check_notebook(path, EXERCISES)
    assert report.passed
    assert report.summary == {"demo.scale_add": "2/2", "demo.gradient": "2/2"}
    notebook(path, RIGHT_SCALE, "print(y)", "y = 1")
    report = check_notebook(path, EXERCISES)
    assert not report.passed
    assert "no cell defines gradient" in str(report)
    assert "Note: y is used in cell 2, above cell 3, which defines it: move that one up" in str(report)


def test_a_cell_that_python_cannot_read_is_not_said_to_be_unwritten(tmp_path):
    path = notebook(tmp_path / "05_demo.ipynb", RIGHT_SCALE.replace("factor):", "factor)"))
    report = check_notebook(path, EXERCISES)
    assert [result.word for result in report.results] == ["does not parse", "missing"]
    assert report.missing[:2] == ["not written yet: gradient", "Python cannot read its cell: scale_add"]


def test_a_notebook_of_no_exercise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.exercises.notebooks", dict)
    with pytest.raises(ValueError, match="no exercise belongs to shopping.ipynb"):
        check_notebook(notebook(tmp_path / "shopping.ipynb", "x = 1"))


def test_words_that_were_not_written_are_pointed_out(tmp_path):
    path = notebook(tmp_path / "demo.ipynb", RIGHT_SCALE, RIGHT_GRADIENT)
    assert "in words" not in str(check_notebook(path, EXERCISES))
    book = json.loads(path.read_text())
    book["cells"].append(
        {"cell_type": "markdown", "id": "w", "metadata": {}, "source": ["*Your answer here.*"]}
    )
    path.write_text(json.dumps(book))
    assert "1 answer(s) in words still say 'Your answer here.'" in str(check_notebook(path, EXERCISES))


def test_a_check_costs_little_more_than_two_processes_that_import_torch(tmp_path):
    """By time of the processor, its own and its children's: a busy machine is no reason to fail."""
    resource = pytest.importorskip("resource", reason="no times of children on this system")
    path = shutil.copy(Path(__file__).parents[2] / "solutions/21_which_pixels_matter.ipynb", tmp_path)

    def cost(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(cost("-c", "import torch") for _ in range(2))
    assert cost("-m", "labkit.cli", "check", str(path)) < 4.5 * bare
