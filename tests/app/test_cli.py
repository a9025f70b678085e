"""The command line: fast, quiet, a sentence for every mistake and the right exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labkit import __version__
from labkit.app import cli, doctor
from labkit.app.demos import DEMOS, NETWORKS

COMMANDS = (
    "lab", "check", "submit", "release", "grade", "demo", "doctor", "fetch", "claims", "scoreboard"
)  # fmt: skip


def labkit(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom labkit.app.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'numpy', 'matplotlib', 'jupyterlab', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals a closed pipe otherwise")
def test_a_reader_that_has_enough_is_no_mistake() -> None:
    code = "import sys; from labkit.app.cli import app; app(['claims'])"
    run = [sys.executable, "-c", code]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.fixture(autouse=True)
def bars_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Release and grade switch bars off for their process, which here is that of all tests."""
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.delenv("TQDM_DISABLE")


def test_release_says_that_it_works_and_shows_no_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "05_demo.ipynb").touch()
    seen = []
    monkeypatch.setattr(
        "labkit.grading.release.release", lambda *_: seen.append(os.environ.get("TQDM_DISABLE")) or []
    )
    result = labkit("release", "--solutions", str(tmp_path))
    assert seen == ["1"]
    assert result.output.splitlines() == [
        "Running every solution, stub and misconception, some minutes ...",
        "All student notebooks are up to date.",
    ]


def test_version() -> None:
    assert labkit("--version").output.strip() == f"labkit {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = labkit(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) >= 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "nowhere.ipynb"], "no notebook nowhere.ipynb"),
        (["submit", "nowhere.ipynb"], "no notebook nowhere.ipynb"),
        (["demo", "oclusion"], "The nearest are 'occlusion'"),
        (["demo", "compare", "--model", "minivgg-tags"], "The nearest are 'minivgg-tag'"),
        (
            ["demo", "tcav", "--model", "squeezenet1_1"],
            "Take minivgg. Explore other networks in a notebook",
        ),
        (["demo", "dream", "--model", "miniresnet"], "--model miniresnet --photos FOLDER"),
        (["demo", "compare", "--model", "minivgg-scenes"], "scenes and layers are chosen for"),
        (["demo", "tcav", "--photos", "here"], "tcav needs planted truth"),
        (["demo", "overlay", "--model", "squeezenet"], "squeezenet1_1"),
        (["demo", "overlay", "--photos", "nowhere"], "nowhere"),
        (["grade", "nowhere", "--sandbox", "maybe"], "'auto', 'strict', 'none'"),
        (["grade", "nowhere"], "nowhere"),
        (["grade", "NOTES.md"], "NOTES.md is a file, no folder of submissions"),
        (["check", "NOTES.md"], "NOTES.md is not a notebook that can be read: a notebook's name ends in"),
        (["submit", "NOTES.md", "--id", "ada"], "NOTES.md is not a notebook that can be read"),
        (["check", "labs/nothere.ipynb"], "no notebook labs/nothere.ipynb, nor a folder labs."),
        (["release", "--solutions", "nowhere"], "nowhere"),
        (["fetch", "squeezenet"], "squeezenet1_1"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "NOTES.md").write_text("# Notes", encoding="utf-8")
    result = labkit(*arguments)
    assert result.exit_code == 2
    assert "Expecting value" not in result.output
    assert says in result.output
    assert result.output.startswith("labkit: ")
    assert "Traceback" not in result.output


def test_without_an_id_and_nobody_to_ask_the_option_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object, **__: object) -> None:
        raise EOFError

    monkeypatch.setattr("labkit.grading.submit.submit", ask)
    (tmp_path / "01_warm_up.ipynb").write_text("{}", encoding="utf-8")
    result = labkit("submit", str(tmp_path / "01_warm_up.ipynb"))
    assert result.exit_code == 2
    assert "--id" in result.output


def test_a_misspelt_notebook_is_answered_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "01_warm_up.ipynb").write_text("{}", encoding="utf-8")
    assert "Did you mean 01_warm_up.ipynb?" in labkit("check", "01_warmup.ipynb").output
    assert "Did you mean 01_warm_up.ipynb?" in labkit("submit", "warm_up").output


def test_where_no_name_is_near_the_first_few_of_the_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labs").mkdir()
    assert "The folder labs holds no notebook." in labkit("check", "labs/nothere.ipynb").output
    for name in (
        "11_filters",
        "12_feature_space",
        "21_which_pixels",
        "41_fooling",
        "51_dreaming",
        "52_texture",
    ):
        Path("labs", f"{name}.ipynb").write_text("{}", encoding="utf-8")
    listed = "11_filters.ipynb, 12_feature_space.ipynb, 21_which_pixels.ipynb, 41_fooling.ipynb and 2 more."
    for command in ("check", "submit"):
        output = labkit(command, "labs/nothere.ipynb").output
        assert output == f"labkit: There is no notebook labs/nothere.ipynb. The folder labs holds {listed}\n"
    assert labkit("check", "labs").output == f"labkit: labs is a folder. The folder labs holds {listed}\n"


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_TRACEBACK", "1")
    assert isinstance(labkit("check", "nowhere.ipynb").exception, FileNotFoundError)


def test_lab_lists_then_copies(tmp_path: Path) -> None:
    folder = tmp_path / "labs"
    listed = labkit("lab", str(folder), "--list")
    assert listed.exit_code == 0
    assert "01_warm_up.ipynb: not there yet" in listed.output
    assert not folder.exists()
    copied = labkit("lab", str(folder), "--copy")
    assert "01_warm_up.ipynb: copied" in copied.output
    assert json.loads((folder / "01_warm_up.ipynb").read_text("utf-8"))["cells"]


def test_demos_are_listed_with_their_sentence() -> None:
    listed = labkit("demo", "--list").output
    for name in (*DEMOS, *NETWORKS):
        assert name in listed
    assert all(len(line.split()) > 4 for line in listed.strip().splitlines())


@pytest.mark.parametrize(
    ("options", "page"), [([], "small.html"), (["--model", "minivgg-tag"], "small-minivgg-tag.html")]
)
def test_a_demo_is_one_page_a_network(
    options: list[str], page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEMOS, "small", lambda model: f"<!doctype html><p>äöü {model}</p>")
    monkeypatch.chdir(tmp_path)
    result = labkit("demo", "small", "--no-browser", *options)
    assert result.exit_code == 0
    assert (tmp_path / page).read_text("utf-8").endswith(f"{(options or ['minivgg'])[-1]}</p>")


def test_a_demo_goes_where_out_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEMOS, "small", lambda model: "<!doctype html>")
    page = tmp_path / "deep" / "own.html"
    assert labkit("demo", "small", "--out", str(page), "--no-browser").exit_code == 0
    assert page.read_text("utf-8") == "<!doctype html>"


def finding(word: str) -> doctor.Finding:
    return doctor.Finding("Topic", word == "ok", "text", "the cure", needed=word != "missing")


@pytest.mark.parametrize(("word", "code"), [("ok", 0), ("missing", 0), ("broken", 1)])
def test_doctor_says_a_word_beside_every_mark(word: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXAMINATIONS", (lambda: finding(word),))
    result = labkit("doctor")
    assert result.exit_code == code
    assert f" {word}" in result.output.splitlines()[0]
    assert ("what to do: the cure" in result.output) == (word != "ok")


def test_an_examination_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def _weather() -> doctor.Finding:
        raise OSError("no sky")

    monkeypatch.setattr(doctor, "EXAMINATIONS", (_weather,))
    (found,) = doctor.examine()
    assert (found.topic, found.word) == ("Weather", "broken")
    assert "no sky" in found.text


def test_doctor_finds_everything_here() -> None:
    words = {found.topic: (found.word, found.text) for found in doctor.examine()}
    for topic in ("Python", "Torch", "Jupyter", "Widgets", "Networks", "Toy world", "Notebooks"):
        assert words[topic][0] == "ok", words[topic]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('libcudart.so is missing')", "ImportError: libcudart.so is missing"),
        ("import os; os.abort()", "crashed with signal 6"),
        ("import os; os._exit(3)", "ended with code 3"),
        ("import threading; threading.Event().wait()", "no answer within 2 s"),
    ],
)
def test_a_broken_step_is_reported_and_the_others_kept(code: str, why: str) -> None:
    found = doctor.probe({"good": "out = {'x': 1}", "bad": code}, seconds=2)
    assert found["good"] == {"x": 1}
    assert why in found["bad"]["why"]


def test_doctor_works_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "labkit.app.cli", "doctor"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1, done.stderr
    assert "no torch here" in done.stdout
    assert "download.pytorch.org/whl/cpu" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "examination"), [("LABKIT_PHOTOS", doctor._photographs), ("LABKIT_CACHE", doctor._cache)]
)
def test_a_wrong_folder_is_missing_not_fatal(
    variable: str,
    examination: Callable[[], doctor.Finding],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    found = examination()
    assert found.word == "missing"
    assert variable in found.cure


def test_weights_at_hand_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert doctor._pretrained().word == "missing"
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"x")
    assert doctor._pretrained().text == "squeezenet1_1"
