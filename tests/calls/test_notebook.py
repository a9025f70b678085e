"""A function is found by its name, whatever has happened to the cells."""

import json

import pytest
from demo import notebook

from labkit.calls.notebook import notebook_name, read_notebook, stale_state


def space(book, name):
    """What running the slice gives."""
    names = {}
    for step in book.slice(name):
        exec(compile(step.source, f"<cell {step.cell}>", "exec"), names)
    return names


def book(tmp_path, *cells):
    return read_notebook(notebook(tmp_path / "n.ipynb", *cells))


@pytest.mark.parametrize(
    "cells",
    [
        ("def f():\n    return 1", "def f():\n    return 2"),
        ("def g():\n    return 2", "f = g"),
        ("f = lambda: 2",),
        ("K = 2", "def f():\n    return K"),
        ("%matplotlib inline\n!pip list\nimport math; K = 2", "def f():\n    return K"),
        ("if True:\n    def f():\n        return 2",),
        ("TABLE = {}\nTABLE['k'] = 2", "def f():\n    return TABLE['k']"),
        ("def f():\n    return 2", "def f(:\n    broken"),
        ("def f():\n    return 2", "check('demo.f', f)", "start('x')\nraise SystemExit"),
        ("%%time\ndef f():\n    return 2",),
        ("from math import *\ndef f():\n    return int(sqrt(4))",),
        ("import functools", "@functools.lru_cache\ndef f():\n    return 2"),
        ("try:\n    import nothing_of_the_kind\nexcept ImportError:\n    K = 2", "def f():\n    return K"),
        ("class A:\n    k = 2", "def f():\n    return A.k"),
        ("%time K = 2", "def f():\n    return K"),
        ("def f():\n    %time 1\n    if True:\n        !ls\n    return 2",),
        ("!pip install \\\n    torch\n\ndef f():\n    return 2",),
        ("def f():\n    return (\n        8\n        % 3\n    )\nlen?",),
        ("files = !ls\ndef f():\n    return int(\n        3\n        != 2\n    ) + 1",),
        ("%%time\n%matplotlib inline\ndef f():\n    return (5\n        % 3)",),
        ("x = 1\nx += 1", "def f():\n    return x"),
    ],
)
def test_the_last_definition_and_what_it_needs(tmp_path, cells):
    assert space(book(tmp_path, *cells), "f")["f"]() == 2


def test_what_the_function_does_not_need_is_not_run(tmp_path):
    cells = ["while True:\n    pass", "lab = start('x')\nmodel = lab.model", "def f():\n    return 2", "f()"]
    steps = book(tmp_path, *cells).slice("f")
    assert [step.cell for step in steps] == [3]


def test_a_name_from_start_is_a_name_error_with_its_cure(tmp_path):
    from labkit.calls.call import perform

    names = space(book(tmp_path, "lab = start('x')", "def f():\n    return lab.model"), "f")
    assert (
        "NameError: name 'lab' is not defined (hand it to the function" in perform(names["f"], (), {}).message
    )


def test_line_numbers_hold_for_messages(tmp_path):
    steps = book(tmp_path, "import torch\n\n\ndef f():\n    return 1 / 0").slice("f")
    with pytest.raises(ZeroDivisionError) as raised:
        names = {}
        exec(compile(steps[-1].source, "<cell 1>", "exec"), names)
        names["f"]()
    assert raised.traceback[-1].lineno + 1 == 5


def test_retyped_and_old_cells_are_read(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "def f():\n    return 2")
    raw = json.loads(path.read_text())
    raw["cells"][0]["cell_type"] = "markdown"
    path.write_text(json.dumps(raw))
    assert read_notebook(path).defines("f")
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["def f():\n", "    return 2"]}]}]}
    path.write_text(json.dumps(old))
    assert space(read_notebook(path), "f")["f"]() == 2


def test_a_broken_cell_is_named(tmp_path):
    broken = book(tmp_path, "x = 1", "def f(:\n    pass")
    assert (
        broken.why_unreadable("f")
        == "the cell that defines f cannot be read: SyntaxError in line 1: invalid syntax"
    )
    assert broken.why_unreadable("g") == ""


def test_what_python_reads_and_does_not_compile_is_broken(tmp_path):
    broken = book(tmp_path, "def f():\n    break", "async def g():\n    return 1\nx = await g()")
    assert broken.broken == {1: "SyntaxError in line 2: 'break' outside loop"}
    assert "'break' outside loop" in broken.why_unreadable("f")


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "null", "3", '{"cells": [{"cell_type": "code", "source": 1']
)
def test_what_is_no_notebook_is_refused(tmp_path, text):
    path = tmp_path / "n.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match="n.ipynb is not a notebook that can be read: it is") as raised:
        read_notebook(path)
    assert "column" not in str(raised.value)


def test_stale_state_is_pointed_out(tmp_path):
    path = notebook(
        tmp_path / "n.ipynb", "y = x + 1", "x = 1", "def f():\n    pass", "def f():\n    pass", "z("
    )
    raw = json.loads(path.read_text())
    for cell, count in zip(raw["cells"], (5, 2, 6, 7, None), strict=True):
        cell["execution_count"] = count
    path.write_text(json.dumps(raw))
    said = "\n".join(stale_state(read_notebook(path), ["f"]))
    assert "cell 2 was run before cell 1, which stands above it" in said
    assert "x is used in cell 1, above cell 2, which defines it: move that one up" in said
    assert "f is defined in the cells 3, 4; the last one counts" in said
    assert "cell 5 cannot be read" in said


def test_the_variables_of_comprehensions_and_lambdas_are_no_stale_state(tmp_path):
    read = book(tmp_path, "a = [x for x in (1, 2)]", "b = sorted(a, key=lambda k: -k)", "x, k = 1, 2")
    assert stale_state(read, []) == []


KNOWN = ["01_warm_up", "21_which_pixels_matter"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("21_which_pixels_matter.ipynb", "21_which_pixels_matter"),
        ("01_warm_up (1).ipynb", "01_warm_up"),
        ("Doe, Jane_1_2_01-Warm-Up.ipynb", "01_warm_up"),
        ("homework.ipynb", None),
    ],
)
def test_renamed_notebooks_are_told(file, name):
    assert notebook_name(file, KNOWN) == name


def test_an_argument_does_not_draw_in_the_cell_that_binds_its_name(tmp_path):
    cells = (
        "model, images = lab.model, lab.images\nscale = 2",
        "def f(model, images):\n    return scale * model",
    )
    taken = [step.source.strip() for step in book(tmp_path, *cells).slice("f")]
    assert taken[0] == "scale = 2"
    assert len(taken) == 2


def test_lines_keep_their_numbers_where_magics_go(tmp_path):
    found = book(tmp_path, "!pip install \\\n    torch\n%time 1\ndef f():\n    return 1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        space(found, "f")["f"]()
    assert caught.tb.tb_next.tb_lineno == 5


def test_a_cell_of_nothing_but_magics_is_read_in_time(tmp_path):
    found = book(tmp_path, "!ls\n" * 20_000, "def f():\n    return 2")
    assert space(found, "f")["f"]() == 2


def test_a_misplaced_import_is_one_note_however_often_it_is_used(tmp_path):
    found = stale_state(book(tmp_path, *["torch.ones(1)"] * 9, "import torch"), [])
    assert found == [
        "torch is used in cell 1, 2, 3, 4, 5, 6, 7, 8, 9, above cell 10, which defines it: move that one up"
    ]
