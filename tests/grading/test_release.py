"""From solutions to students' notebooks, refusals, and handing in."""

import dataclasses
import json
import zipfile

import nbformat
import pytest
from demo import EXERCISES, GRADIENT, SCALE, notebook

from labkit.calls.exercise import Misconception
from labkit.grading.bundle import release_bundle
from labkit.grading.release import ReleaseError, is_edited, release, student_copy
from labkit.grading.solutions import write_answers
from labkit.grading.submit import receipt_of, submit

KIT = {"05_demo": EXERCISES}
SOLVED_SCALE = (
    "def scale_add(x, factor):\n"
    '    """x times factor, plus one."""\n'
    "    ### BEGIN SOLUTION\n"
    "    return x * factor + 1\n"
    "    ### END SOLUTION\n"
)
SOLVED_GRADIENT = (
    "def gradient(model, x):\n"
    "    ### BEGIN SOLUTION\n"
    "    x = x.clone().requires_grad_()\n"
    "    grad = torch.autograd.grad(model(x).sum(), x)[0]\n"
    "    return grad.abs().amax(-1)\n"
    "    ### END SOLUTION\n"
)
CELLS = [
    "import torch\nfrom labkit.grading import check",
    SOLVED_SCALE,
    "check('demo.scale_add', scale_add)",
    "y = scale_add(torch.ones(2), 3)",
    "print(y.mean())",
    "def later():\n    return gradient(None, y)",
    SOLVED_GRADIENT,
    'points = check("demo.gradient", gradient)',
    "z = 3\nprint(z)",
    "later()",
]


def solution(tmp_path, cells=CELLS):
    path = notebook(tmp_path / "solutions" / "05_demo.ipynb", *cells)
    raw = json.loads(path.read_text())
    raw["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    raw["cells"][-1]["execution_count"] = 7
    path.write_text(json.dumps(raw))
    return path


def make(tmp_path, cells=CELLS, exercises=EXERCISES, **settings):
    solution(tmp_path, cells)
    release(tmp_path / "solutions", tmp_path / "notebooks", exercises={"05_demo": exercises}, **settings)
    return json.loads((tmp_path / "notebooks" / "05_demo.ipynb").read_text())


def test_the_students_copy(tmp_path):
    book = make(tmp_path)
    text = ["".join(cell["source"]) for cell in book["cells"]]
    assert text[1] == (
        'def scale_add(x, factor):\n    """x times factor, plus one."""\n'
        "    # YOUR CODE HERE\n    raise NotImplementedError()\n"
    )
    assert not any("SOLUTION" in part or "amax" in part for part in text)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in book["cells"])
    tagged = [
        i for i, cell in enumerate(book["cells"]) if "raises-exception" in cell["metadata"].get("tags", [])
    ]
    assert tagged == [3, 4, 9]
    nbformat.validate(nbformat.from_dict(book))


def test_an_unsolved_notebook_runs_to_its_end_in_order(tmp_path):
    book = make(tmp_path, verify=False)
    space = {"check": lambda *a: 0.0}
    for cell in book["cells"]:
        source = "".join(cell["source"]).replace("from labkit.grading import check", "")
        if "raises-exception" in cell["metadata"].get("tags", []):
            with pytest.raises((NotImplementedError, NameError)):
                exec(source, space)
        else:
            exec(source, space)


def test_nbgraders_metadata_is_in_the_copy_and_completed_in_the_source(tmp_path):
    book = make(tmp_path, verify=False)
    stub, check = (book["cells"][i]["metadata"]["nbgrader"] for i in (1, 2))
    assert stub == {
        "schema_version": 3, "task": False, "grade": False, "solution": True, "locked": False,
        "grade_id": "write_scale_add",
    }  # fmt: skip
    assert (check["grade"], check["locked"], check["points"]) == (True, True, SCALE.points)
    source = json.loads((tmp_path / "solutions" / "05_demo.ipynb").read_text())
    assert source["cells"][1]["metadata"]["nbgrader"] == stub
    assert "### BEGIN SOLUTION" in "".join(source["cells"][1]["source"])


def test_releasing_twice_writes_nothing_and_never_over_a_students_work(tmp_path):
    make(tmp_path, verify=False)
    copy = tmp_path / "notebooks" / "05_demo.ipynb"
    assert release(tmp_path / "solutions", tmp_path / "notebooks", exercises=KIT, verify=False) == []
    raw = json.loads(copy.read_text())
    raw["cells"][0]["outputs"] = []
    raw["cells"][8]["source"] = "z = 4"
    copy.write_text(json.dumps(raw))
    before = copy.read_bytes()
    assert is_edited(copy)
    with pytest.raises(ReleaseError, match="05_demo.ipynb has been edited since its release. Move it away"):
        release(tmp_path / "solutions", tmp_path / "notebooks", exercises=KIT, verify=False)
    assert copy.read_bytes() == before


def test_a_new_version_replaces_a_copy_that_nobody_edited(tmp_path):
    make(tmp_path, verify=False)
    book = make(tmp_path, [*CELLS, "w = 1"], verify=False)
    assert len(book["cells"]) == len(CELLS) + 1


def swap(index, text):
    return [*CELLS[:index], text, *CELLS[index + 1 :]]


BARE = SOLVED_GRADIENT.replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", "")
HALF = SOLVED_SCALE.replace("    ### END SOLUTION\n", "")
TWICE = SOLVED_SCALE.replace("BEGIN SOLUTION\n", "BEGIN SOLUTION\n    ### BEGIN SOLUTION\n")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (swap(1, SOLVED_SCALE.replace("+ 1", "+ 2")), "fails the public case 'two rows' .values"),
        (swap(1, HALF), r"cell 2 .id c1.: ### BEGIN SOLUTION without"),
        (swap(1, SOLVED_SCALE.replace("    ### BEGIN SOLUTION\n", "")), "cell 2 .*### END SOLUTION without"),
        (swap(1, TWICE), "cell 2 .*stands within a solution"),
        (swap(1, SOLVED_SCALE + "# the END SOLUTION stands above"), "cell 2 .*a solution's mark is left"),
        (swap(9, BARE), "cell 10 .*the text of a solution is left"),
        (swap(6, BARE), "the stub of demo.gradient passes the case 'one row'"),
        (
            swap(2, "check('demo.scale_add', scale_add)\ncheck('demo.scale_add', scale_add)"),
            "cell 3 .*'demo.scale_add' is checked here and in .*cell 3",
        ),
        (
            swap(2, "check('demo.gradient', gradient)"),
            "cell 8 .*'nbgrader check_demo_gradient' stands there twice",
        ),
        (swap(2, "check('demo.scaled', scale_add)"), "no exercise 'demo.scaled' belongs to this notebook"),
        (swap(2, "check('demo.scale_add', later)"), "cell 3 .*should hand over scale_add"),
        (swap(2, "1"), "no cell checks 'demo.scale_add'"),
    ],
)
def test_what_must_not_be_released_is_refused_naming_the_cell(tmp_path, cells, words):
    with pytest.raises(ReleaseError, match=words):
        make(tmp_path, cells)
    assert not (tmp_path / "notebooks").exists()


def test_a_misconception_that_gets_full_marks_is_refused(tmp_path):
    generous = dataclasses.replace(
        SCALE, misconceptions=(Misconception("none", lambda x, factor: 1 + factor * x, "There is none."),)
    )
    with pytest.raises(ReleaseError, match="the misconception 'none' of demo.scale_add gets full marks"):
        make(tmp_path, exercises=(generous, GRADIENT))


def test_ids_that_repeat_and_tags_on_solutions_are_refused(tmp_path):
    raw = json.loads(solution(tmp_path).read_text())
    raw["cells"][3]["id"] = "c1"
    with pytest.raises(ReleaseError, match="cell 4 .*the id 'c1' stands there twice"):
        student_copy(raw, "05_demo")
    raw["cells"][3]["id"] = "c3"
    raw["cells"][0]["metadata"]["tags"] = ["raises-exception"]
    with pytest.raises(ReleaseError, match="cell 1 .*must not carry the tag"):
        student_copy(raw, "05_demo")


def test_no_solutions_no_release(tmp_path):
    with pytest.raises(FileNotFoundError, match="no solution notebooks in"):
        release(tmp_path, tmp_path / "notebooks")


def test_handing_in(tmp_path):
    from labkit.grading.submissions import find_submissions

    path = notebook(
        tmp_path / "work" / "05_demo.ipynb", "def scale_add(x, factor):\n    return x * factor + 1"
    )
    asked = []

    def ask(question):
        asked.append(question)
        return " ada "

    settings = {"ask": ask, "id_file": tmp_path / "config" / "student", "exercises": EXERCISES}
    receipt = submit(path, folder=tmp_path / "in", **settings)
    assert receipt.path.name == "ada_05_demo.zip"
    assert receipt.checks == {"demo.scale_add": "2/2", "demo.gradient": "0/2"}
    assert f"receipt {receipt.receipt} for ada" in str(receipt)
    with zipfile.ZipFile(receipt.path) as archive:
        manifest = json.loads(archive.read("submission.json"))
        assert archive.read("05_demo.ipynb") == path.read_bytes()
    assert manifest["kit"]
    assert manifest["receipt"] == receipt_of(manifest) == receipt.receipt
    assert receipt_of({**manifest, "student": "bob"}) != receipt.receipt
    again = submit(path, folder=tmp_path / "in", **settings)
    assert again.receipt == receipt.receipt, "the same work"
    assert len(asked) == 1
    (path.parent / "helpers.py").write_text("x = 1")
    assert submit(path, folder=tmp_path / "in", **settings).receipt != receipt.receipt
    found = find_submissions(tmp_path / "in", [], ["05_demo"])
    assert [(s.student.id, s.notebooks[0][1].defines("scale_add")) for s in found] == [("ada", True)]
    with pytest.raises(ValueError, match="the id .--id. must be one word"):
        submit(path, "Ada Lovelace", **settings)


def checkout(tmp_path, monkeypatch, *names):
    """A checkout with one released notebook, and a wheel that holds ``names``."""
    make(tmp_path, verify=False)
    (tmp_path / "pyproject.toml").write_text("")

    def wheel(root, folder):
        with zipfile.ZipFile(folder / "labkit-0-py3-none-any.whl", "w") as archive:
            for name in names:
                archive.writestr(name, "")
        return folder / "labkit-0-py3-none-any.whl"

    monkeypatch.setattr("labkit.grading.bundle._wheel", wheel)
    return tmp_path


def test_the_bundle_holds_the_wheel_and_the_notebooks_only(tmp_path, monkeypatch):
    root = checkout(tmp_path, monkeypatch, "labkit/__init__.py")
    with zipfile.ZipFile(release_bundle(tmp_path / "dist", root=root)) as archive:
        names = archive.namelist()
        start = archive.read("START_HERE.txt").decode()
    assert names == ["labkit-0-py3-none-any.whl", "notebooks/05_demo.ipynb", "START_HERE.txt"]
    assert "    .venv/bin/pip install labkit-0-py3-none-any.whl\n    .venv/bin/labkit lab\n" in start
    assert "    .venv\\Scripts\\labkit lab\n" in start


def test_a_bundle_with_solutions_tests_or_edits_is_refused(tmp_path, monkeypatch):
    root = checkout(tmp_path, monkeypatch, "labkit/__init__.py", "tests/test_x.py")
    with pytest.raises(ReleaseError, match="the wheel holds tests/test_x.py"):
        release_bundle(tmp_path / "dist", root=root)
    copy = root / "notebooks" / "05_demo.ipynb"
    copy.write_text(copy.read_text().replace("YOUR CODE", "MY CODE"))
    with pytest.raises(ReleaseError, match="is not as it was released. Run labkit release first"):
        release_bundle(tmp_path / "dist", root=root)
    with pytest.raises(FileNotFoundError, match="Make the bundle in a checkout"):
        release_bundle(tmp_path / "dist", root=tmp_path / "dist")


def test_an_answer_is_written_from_its_exercise_and_the_rest_of_the_cell_stays(tmp_path):
    answer = ("def scale_add(x, factor):\n    '''Says so.'''", "    return 1 + x * factor")
    exercises = (dataclasses.replace(SCALE, answer=answer), GRADIENT)
    cells = ["import torch\n\n" + CELLS[1] + "\nprint(1)", *CELLS[2:]]
    make(tmp_path, [CELLS[0], *cells], exercises)
    written = json.loads((tmp_path / "solutions" / "05_demo.ipynb").read_text())
    assert "".join(written["cells"][1]["source"]) == (
        "import torch\n\ndef scale_add(x, factor):\n    '''Says so.'''\n    ### BEGIN SOLUTION\n"
        "    return 1 + x * factor\n    ### END SOLUTION\n\nprint(1)"
    )
    assert write_answers(written, exercises) == []


def test_an_answer_with_marks_of_its_own_leaves_what_is_given(tmp_path):
    body = "    y = x * factor\n    ### BEGIN SOLUTION\n    return y + 1\n    ### END SOLUTION"
    exercises = (dataclasses.replace(SCALE, answer=("def scale_add(x, factor):", body)), GRADIENT)
    book = make(tmp_path, exercises=exercises)
    assert "".join(book["cells"][1]["source"]).strip() == (
        "def scale_add(x, factor):\n    y = x * factor\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    )


def test_what_is_missing_is_said_before_anything_is_written(tmp_path):
    path = notebook(
        tmp_path / "05_demo.ipynb",
        "def scale_add(x, factor):\n    raise NotImplementedError()",
        "def gradient(model, x):\n    return x.no_such_thing",
        "lab.predict('share', ...)",
        "print(later)",
        "later = 1",
    )
    seen = []
    settings = {"id_file": tmp_path / "id", "exercises": EXERCISES, "folder": tmp_path / "in"}
    with pytest.raises(ValueError, match=r"nothing was written\. Hand the notebook in when it is ready"):
        submit(path, "ada", sure=lambda missing: seen.extend(missing), **settings)
    assert seen == [
        "not written yet: scale_add",
        "an error: gradient",
        "later is used in cell 4, above cell 5, which defines it: move that one up",
        "not predicted yet: 'share'",
    ]
    assert not (tmp_path / "in").exists()
    with pytest.raises(ValueError, match="the id .--id. must be one word"):
        submit(tmp_path / "nowhere.ipynb", "Ada Lovelace", **settings)
    with pytest.raises(ValueError, match="must be your own; your-id only stands for it"):
        submit(tmp_path / "nowhere.ipynb", "your-id", **settings)
    assert submit(path, "ada", **settings).path.exists()
