"""`labkit check`: a notebook's exercises in a clean process, and what a clean run would stumble over."""

import json

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
