"""What a hostile, broken or careless submission can do: cost itself a question, and nothing else."""

import os
import sys

import pytest
import torch
from demo import RIGHT_GRADIENT, RIGHT_SCALE, SCALE, notebook

from labkit.calls.notebook import read_notebook
from labkit.checking.judge import Judge
from labkit.exercises import find
from labkit.sandbox import walls
from labkit.sandbox.job import Job, patience
from labkit.sandbox.launch import ForkServer, Running
from labkit.sandbox.sandbox import Sandbox, SandboxError
from labkit.sandbox.streams import KEPT_OUTPUT, Messages, Tail

linux = pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instructor")
    (folder / "seed").write_text("the course's secret")
    return folder / "seed"


@pytest.fixture(scope="module", params=["auto", "none"])
def box(request, secret):
    with Sandbox(request.param, hidden=[secret.parent]) as sandbox:
        if request.param == "auto" and not sandbox.isolated:
            pytest.skip(f"this system has no namespaces: {sandbox.report}")
        yield sandbox


@pytest.fixture
def run(box, tmp_path):
    def go(source, exercise=SCALE, **settings):
        book = read_notebook(notebook(tmp_path / "n.ipynb", source))
        judge = Judge(exercise, 7)
        settings = {"seconds": 5.0, "blocks": exercise.blocks, **settings}
        done = box.run(Job(exercise.name, book.slice(exercise.name), [c for _, c in judge.cases], **settings))
        return judge.result(done.outcomes), done

    return go


def body(*lines):
    return "import os, sys, torch\nimport numpy as np\ndef scale_add(x, factor):\n    " + "\n    ".join(lines)


RIGHT = "return x * factor + 1"


def test_the_right_function_gets_full_marks_and_its_bytes_are_equal(run):
    result, done = run(RIGHT_SCALE)
    assert result.points == 4
    assert done.outcomes[0].output.dtype == torch.float64


@pytest.mark.parametrize(
    "trick",
    [
        "np.allclose = lambda *a, **k: True",
        "torch.allclose = torch.isclose = torch.equal = lambda *a, **k: True",
        "torch.Tensor.__eq__ = lambda *a: True",
        "import labkit.calls.call as b; b.left_behind = lambda *a: ''; b.gradient = lambda *a: a[0]",
        "from labkit.grading import check; import builtins; builtins.all = lambda *a: True",
    ],
)
def test_patching_a_comparison_gains_nothing(run, trick):
    result, _ = run(body(trick, "return x * factor"))
    assert result.points == 0


def test_an_object_that_runs_code_when_unpickled_is_not_taken(run):
    trick = (
        "class Bomb:\n    def __reduce__(self):\n        return (print, ('boom',))\n"
        "def scale_add(x, factor):\n    return Bomb()"
    )
    result, _ = run(trick)
    assert result.points == 0
    assert "a Bomb cannot be sent between processes" in result.cases[0].verdict.difference


@pytest.mark.parametrize("lines", [["sys.exit(0)"], ["raise SystemExit"], ["quit()"]])
def test_ending_the_program_is_an_error_and_not_a_mark(run, lines):
    result, _ = run(body(*lines))
    assert result.points == 0
    assert result.word in ("error", "crashed")


def test_ending_the_process_at_one_case_costs_that_case_only(run):
    result, _ = run(body("if factor == 3.0: os._exit(0)", RIGHT))
    assert [case.verdict.word for case in result.cases] == ["right", "crashed", "right"]


@linux
def test_an_endless_loop_is_ended_in_time(run):
    result, done = run(body("while True: pass"), seconds=0.5)
    assert result.word == "timeout"
    assert done.seconds < 10 * patience()


def test_a_loop_that_catches_everything_is_ended_too(run):
    lines = ["while True:", "    try:", "        while True: pass", "    except BaseException: pass"]
    assert run(body(*lines), seconds=0.5)[0].word == "timeout"


def test_an_endless_cell_costs_only_what_it_defines(run):
    source = "while True:\n    TABLE = 1\n\n" + RIGHT_SCALE
    assert run(source)[0].points == 4  # nothing needs the cell: it is not entered
    source = RIGHT_SCALE.replace("+ 1", "+ ONE") + "\nONE = 1\nwhile True:\n    ONE = 1\n"
    result, done = run(source, cell_seconds=0.3)
    assert result.points == 4  # it is left after its time, and what it has given stays
    assert "was passed over" in done.notes[0]


def test_a_memory_hog_gets_an_error(run):
    result, _ = run(body("torch.ones(2 * 10**9, dtype=torch.float64)", RIGHT))
    assert result.points == 0
    assert "memory" in result.cases[0].verdict.difference


def test_a_printing_loop_is_drained_and_cut(run):
    _, done = run(body("for _ in range(3000): os.write(1, b'x' * 100_000)", RIGHT), seconds=20)
    assert [outcome.kind for outcome in done.outcomes] == ["ok"] * 3
    assert len(done.output) < 2 * KEPT_OUTPUT
    assert "bytes cut" in done.output


def test_lines_on_stderr_cost_nothing(run):
    assert run(body("sys.stderr.write('100%|####|\\n')", RIGHT))[0].points == 4


FLOOD = """
from labkit.calls.wire import encode
def send(fd, message):
    body = encode(message)
    try:
        os.write(fd, len(body).to_bytes(8, "big") + body)
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    "message",
    [
        '{"begin": 0}',
        '{"notes": ["n"] * 1000}',
        '{"case": 0, "kind": "ok", "message": 1, "left": ""}',
        '{"begin": torch.ones(2), "case": np.zeros(3)}',
        '{"case": 0, "kind": np.zeros(3)}',
    ],
)
def test_a_flood_of_forged_messages_neither_delays_nor_gains(run, message):
    source = body(f"while True: [send(fd, {message}) for fd in range(3, 12)]").replace(
        "def scale", FLOOD + "def scale"
    )
    result, done = run(source, seconds=1.0)
    assert result.points == 0
    assert result.word in ("timeout", "crashed")
    assert done.seconds < 20 * patience()


@linux
def test_a_fork_bomb_is_limited_and_nothing_is_left(run, box):
    if os.geteuid() == 0 and not box.isolated:
        pytest.skip("root's processes are not limited in number without namespaces")
    marker = f"labkit-bomb-{os.getpid()}"
    lines = [
        "while True:",
        "    try:",
        "        if os.fork() == 0:",
        f"            sys.argv.append({marker!r})",
    ]
    lines += ["    except OSError: pass"]
    result, _ = run(body(*lines), seconds=1.0)
    assert result.word == "timeout"
    assert run(RIGHT_SCALE)[0].points == 4


def test_children_that_outlive_the_function_are_ended(run, box, tmp_path):
    script = "import time,sys; time.sleep(60)"
    lines = [
        "import subprocess",
        f"subprocess.Popen([sys.executable, '-c', {script!r}], start_new_session=True)",
    ]
    result, _ = run(body(*lines, RIGHT))
    assert result.cases[0].verdict.word in ("right", "error")
    alive = [pid for pid in os.listdir("/proc") if pid.isdigit() and _says(pid, script)] if _linux() else []
    assert alive == []


def _linux():
    return sys.platform == "linux"


def _says(pid, words):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return words in file.read()
    except OSError:
        return False


@linux
def test_ending_the_parent_gains_nothing_and_the_next_one_is_served(run):
    kill = ["for pid in (os.getppid(),):", "    try: os.kill(pid, 9)", "    except OSError: pass"]
    result, _ = run(body(*kill, RIGHT))
    assert result.word in ("right", "crashed")
    assert run(RIGHT_SCALE)[0].points == 4


@linux
def test_a_job_that_met_a_dying_server_costs_its_student_nothing(run, box, monkeypatch):
    launch = ForkServer.launch

    def lost(server, data):
        monkeypatch.setattr(ForkServer, "launch", launch)
        nothing = [open(os.devnull, "rb") for _ in range(2)]  # noqa: SIM115
        return Running(Messages(nothing[0]), Tail(nothing[1]), lambda: None)

    monkeypatch.setattr(ForkServer, "launch", lost)
    assert run(RIGHT_SCALE)[0].points == 4


def test_what_the_instructor_keeps_cannot_be_read_behind_the_walls(run, box, secret):
    result, _ = run(body(f"open({str(secret)!r}).read()", RIGHT))
    if box.isolated:
        assert "FileNotFoundError" in result.cases[0].verdict.difference
    else:
        assert "could read the instructor's files" in box.report


def test_there_is_no_network_behind_the_walls(run, box):
    if not box.isolated:
        pytest.skip("no walls")
    lines = ["import socket", "s = socket.create_connection(('127.0.0.1', 22), timeout=1)", RIGHT]
    result, _ = run(body(*lines))
    assert "Network is unreachable" in result.cases[0].verdict.difference


def test_nothing_of_the_instructors_environment_is_there(run, monkeypatch):
    monkeypatch.setenv("COURSE_TOKEN", "very secret")
    result, _ = run(body("raise ValueError(sorted(os.environ))"))
    said = result.cases[0].verdict.difference
    assert "COURSE_TOKEN" not in said
    assert "OMP_NUM_THREADS" in said


def test_the_worker_knows_no_exercise_and_no_judge(run):
    names = "[m for m in sys.modules if m.startswith('labkit')]"
    said = run(body(f"raise ValueError({names})"))[0].cases[0].verdict.difference
    assert "labkit.calls.wire" in said
    assert not [room for room in ("exercises", "checking", "judge", "grading") if room in said]


@pytest.mark.parametrize(
    "way",
    [
        "from labkit.checking.judge import Judge",
        "import labkit.checking",
        "import labkit.exercises.warm_up",
        "from labkit.exercises import find",
        "from labkit.grading import check; import labkit.grading.grade",
        "import importlib; importlib.import_module('labkit.exercises.which_pixels_matter')",
    ],
)
def test_the_exercises_cannot_be_imported(run, way):
    result, _ = run(body(*way.split("; "), RIGHT))
    assert result.points == 0
    assert result.cases[0].verdict.word == "blocked"
    assert "is not open to a submission: write this one yourself" in result.cases[0].verdict.difference


def test_behind_the_walls_the_exercises_are_not_even_there(run, box):
    if not box.isolated:
        pytest.skip("no walls")
    folder = "os.path.join(os.path.dirname(labkit.__file__), 'exercises')"
    result, _ = run(body("import labkit", f"raise ValueError(os.listdir({folder}))"))
    assert "PermissionError" in result.cases[0].verdict.difference
    result, _ = run(body("sys.meta_path.pop(0)", "import labkit.exercises.warm_up", RIGHT))
    assert "ModuleNotFoundError" in result.cases[0].verdict.difference


@pytest.mark.parametrize(
    "way", ["from labkit.grading import check", "import labkit.grading as g; check = g.check"]
)
def test_a_check_in_a_submission_checks_nothing_and_brings_nothing_in(run, way):
    names = "[m for m in sys.modules if m.startswith('labkit.') and m.split('.')[1] in ROOMS]"
    lines = [*way.split("; "), "ROOMS = ('exercises', 'checking', 'grading')"]
    lines += [
        f"raise ValueError(check('demo.scale_add', None), dir(sys.modules['labkit.grading'])[-1], {names})"
    ]
    said = run(body(*lines))[0].cases[0].verdict.difference
    assert "(0.0, 'check', ['labkit.grading'])" in said


def test_a_submission_that_checks_itself_or_opens_the_lab_gets_its_marks(run):
    assert run(body("from labkit.lab import claim, start", RIGHT), seconds=20)[0].points == 4
    checked = "from labkit.grading import check\n" + RIGHT_SCALE + "check('demo.scale_add', scale_add)"
    assert run(checked)[0].points == 4
    lines = ["from labkit.grading import check", "check('demo.scale_add', scale_add)", RIGHT]
    assert run(body(*lines))[0].points == 4


@pytest.mark.parametrize(
    "way",
    [
        "from labkit.core.checks import nearest as f",
        "import labkit.core.checks as c; f = c.nearest",
        "import importlib, labkit.core.checks as c; importlib.reload(c); f = c.nearest",
        "import functools, labkit.core.checks as c; f = functools.partial(c.nearest)",
        "import labkit.core.checks; del sys.modules['labkit.core.checks']; "
        "from labkit.core.checks import nearest as f",
    ],
)
def test_labkits_own_function_refuses_however_it_is_reached(run, way):
    result, _ = run(body(*way.split("; "), "f('a', ['b'])", RIGHT), blocks=("labkit.nearest",))
    assert result.points == 0
    assert result.cases[0].verdict.word == "blocked"
    assert (
        "write this one yourself: labkit.nearest is what is asked for" in result.cases[0].verdict.difference
    )


def test_importing_it_under_the_asked_name_is_refused_too(run):
    result, _ = run("from labkit.core.checks import nearest as scale_add", blocks=("labkit.nearest",))
    assert result.cases[0].verdict.word == "blocked"


def test_a_network_is_built_in_the_worker(run):
    from demo import GRADIENT

    assert run(RIGHT_GRADIENT, GRADIENT)[0].points == 6


AREA = """
def area_loss(mask, area):
    values = mask.flatten().sort().values
    wanted = torch.zeros_like(values)
    wanted[len(values) - round(area * len(values)) :] = 1
    return ((values - wanted) ** 2).mean()
"""


def test_a_gradient_is_taken_in_the_worker_and_a_lost_one_costs_a_case(run):
    exercise = find("attribution.area_loss")
    assert run("import torch\n" + AREA, exercise)[0].points == exercise.points
    result, _ = run("import torch\n" + AREA.replace(".mean()", ".mean().item()"), exercise)
    assert [case.verdict.passed for case in result.cases] == [True, True, True, False] * 3
    assert "return a tensor that knows where it came from" in result.hint


RECORD = """
def record_activation(model, layer, images):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, out: kept.append(out.clone()))
    try:
        model(images)
    finally:
        handle.remove()
    return kept[0].detach()
"""


def test_a_network_that_fails_and_a_result_to_be_detached_are_seen_in_the_worker(run):
    exercise = find("warm_up.record_activation")
    assert run("import torch\n" + RECORD, exercise)[0].points == exercise.points
    for old, new, words in (
        ("    finally:", "    except ValueError:\n        pass\n    if True:", "in finally:"),
        (".detach()", "", "its gradient: "),
        ("model.get_submodule(layer)", "getattr(model, layer)", "features.0"),
    ):
        result, _ = run("import torch\n" + RECORD.replace(old, new), exercise)
        failed = [case for case in result.cases if not case.verdict.passed]
        assert len(failed) >= 2
        assert result.points < exercise.points
        assert any(words in case.verdict.difference for case in failed), words
    assert result.points == 0


def test_strict_refuses_where_there_are_no_walls(monkeypatch):
    monkeypatch.setattr(ForkServer, "start", lambda self: "a namespace of its own is not allowed here")
    with pytest.raises(SandboxError, match="--sandbox strict needs Linux namespaces: a namespace of its own"):
        Sandbox("strict")
    with pytest.raises(ValueError, match="sandbox must be one of 'auto', 'strict', 'none'; got 'loose'"):
        Sandbox("loose")


def test_without_a_fork_server_each_exercise_has_a_process_of_its_own(tmp_path, monkeypatch):
    def missing(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(walls, "pidfd_open", missing)
    with Sandbox("auto") as box:
        assert not box.isolated
        assert "time limits only" in box.report
        book = read_notebook(notebook(tmp_path / "n.ipynb", "print('hello')\n" + RIGHT_SCALE))
        judge = Judge(SCALE)
        work = Job("scale_add", book.slice("scale_add"), [c for _, c in judge.cases], seconds=3)
        assert judge.result(box.run(work).outcomes).points == 4
