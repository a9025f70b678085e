"""Borrowed code is told to the instructor and changes no mark."""

import ast
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


LONG = (
    "def gradient(model, x):\n    x = x.clone().requires_grad_()\n    score = model(x).sum()\n"
    "    slope = torch.autograd.grad(score, x)[0]\n    return slope.abs().amax(-1)"
)
OTHER = (
    "def gradient(model, x):\n    x = x.clone().requires_grad_()\n"
    "    slope = torch.autograd.grad(model(x).sum(), x)[0]\n    size = slope * slope.sign()\n"
    "    return size.amax(-1)"
)


def told_of(tmp_path, monkeypatch, published, **answers):
    """Student and sentence for answers to an exercise whose published solution is the source given."""
    from labkit.grading import likeness
    from labkit.grading.submissions import find_submissions

    own = likeness.tree_of(ast.parse(published).body[0])
    monkeypatch.setattr(likeness, "_own", lambda exercise: iter([("the published solution", own)]))
    for student, source in answers.items():
        notebook(tmp_path / student / "05_demo.ipynb", source)
    submissions = find_submissions(tmp_path, [], ["05_demo"])
    return [(student, note) for student, _, note in likeness.alike(submissions, [GRADIENT])]


def test_two_of_three_with_the_published_solution_are_told_and_the_pair_is_not_named_without_it(
    tmp_path, monkeypatch
):
    renamed = LONG.replace("slope", "g").replace("score", "s")
    nearly = LONG.replace("    return", "    slope = slope * 1\n    return")
    told = told_of(tmp_path, monkeypatch, LONG, ada=OTHER, carol=LONG, dave=renamed)
    that = "the function is that of {}, but for the names of its variables; both are written like {}"
    assert told == [
        ("carol", that.format("dave", "the published solution")),
        ("dave", that.format("carol", "the published solution")),
    ]
    told = told_of(tmp_path, monkeypatch, LONG, ada=OTHER, carol=LONG, dave=nearly)
    sentence = "the function is written like the published solution, as 2 of the 3 answers are"
    assert told == [("carol", sentence), ("dave", sentence)]


def test_a_short_function_that_most_have_found_is_told_of_nobody(tmp_path, monkeypatch):
    short = inspect.getsource(GRADIENT.reference).replace("_reference", "gradient")
    assert told_of(tmp_path, monkeypatch, short, **dict.fromkeys(["ada", "bob", "cy"], short)) == []


def test_what_more_than_a_third_of_a_larger_class_has_found_is_told_of_pairs_alone(tmp_path, monkeypatch):
    class_of_nine = dict.fromkeys("abcde", OTHER) | dict.fromkeys("fghi", LONG)
    assert told_of(tmp_path, monkeypatch, LONG, **class_of_nine) == []
    nearly = LONG.replace("    return", "    slope = slope * 1\n    return")
    told = told_of(tmp_path, monkeypatch, LONG, **class_of_nine | {"h": nearly, "i": nearly})
    assert [student for student, _ in told] == ["f", "g", "h", "i"]
    assert all(note.endswith("; both are written like the published solution") for _, note in told)
