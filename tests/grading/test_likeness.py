"""Borrowed code is told to the instructor and changes no mark."""

import inspect
import textwrap

from demo import GRADIENT, RIGHT_SCALE, SCALE, notebook

from labkit.grading.grade import grade_class

BORROWED = textwrap.dedent(inspect.getsource(GRADIENT.reference)).replace("_reference", "gradient")
KIT = {"05_demo": (SCALE, GRADIENT)}
OWN = (
    "import torch\ndef gradient(model, x):\n    rows = []\n    for row in x:\n"
    "        row = row[None].clone().requires_grad_()\n"
    "        rows.append(torch.autograd.grad(model(row).sum(), row)[0].abs().amax(-1))\n"
    "    return torch.cat(rows)"
)
LONGER = BORROWED.replace("    return", "    y = model(x)\n    y = y * 1\n    return").replace(
    "model(x).sum", "y.sum"
)


def graded(tmp_path, **answers):
    for student, gradient in answers.items():
        notebook(tmp_path / "in" / student / "05_demo.ipynb", RIGHT_SCALE, "import torch\n" + gradient)
    return grade_class(tmp_path / "in", tmp_path / "out", exercises=KIT, sandbox="none")


def test_students_like_one_another_but_for_names_are_told(tmp_path):
    renamed = OWN.replace("rows", "parts").replace("row", "line")
    report = graded(tmp_path, ada=OWN, bob=renamed, cy=LONGER)
    told = {(student, note) for student, _, note in report.alike}
    assert told == {
        ("ada", "the function is that of bob, but for the names of its variables"),
        ("bob", "the function is that of ada, but for the names of its variables"),
    }
    assert [row.total for row in report.rows] == [10, 10, 10]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "ada, Largest gradient: the function is that of bob" in page
    assert "of bob" not in (tmp_path / "out" / "feedback" / "ada.html").read_text()


def test_the_librarys_own_source_and_the_published_solution_are_told(tmp_path):
    import dataclasses

    from labkit.attribution import saliency

    asked = dataclasses.replace(GRADIENT, id="demo.pasted", signature="pasted(model, x)", reference=saliency)
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(saliency)))
    pasted = source[source.index("def saliency") :].replace("def saliency", "def pasted")
    notebook(tmp_path / "ada.ipynb", pasted)
    from labkit.grading.likeness import alike
    from labkit.grading.submissions import find_submissions

    told = alike(find_submissions(tmp_path, [], ["ada"]), [asked])
    assert {note for _, _, note in told} == {
        "the function is written like the published solution",
        "the function is written like labkit.attribution.saliency of the library",
    }


def test_what_runs_code_from_elsewhere_is_told(tmp_path):
    trick = (
        "import labkit.attribution.gradient as P\nspace = {}\n"
        "def gradient(model, x):\n    exec(open(P.__file__).read(), space)\n"
        "    return space['saliency'](model, x, 0)"
    )
    (row,) = graded(tmp_path, ada=trick).rows
    assert any(
        "uses __file__, exec, open, by which code can be run" in note for note in row.exercises[1].notes
    )
