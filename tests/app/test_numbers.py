"""``labkit claims`` and ``labkit scoreboard``: what is told, what is measured, and what is kept."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labkit.app import cli, numbers
from labkit.experiments.bench import MODES
from labkit.ledger import claims as ledger
from labkit.ledger import scoreboard
from labkit.ledger.claims import Entry, Number, enter
from labkit.ledger.scoreboard import MEASURES, Row


def labkit(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def made(id: str, value: float = 2.0) -> Entry:
    number = Number(
        "length", (value, value - 1, value + 1), "< 9", id != "Z3", True, "m", {"twin": (0.1, 0.0, 0.2)},
        {"twin": "<= 1"},
    )  # fmt: skip
    rests = {"golden": {"data.render": "1"}, "code": {}, "networks": {"minivgg": "2"}}
    verdict = "does not hold" if id == "Z3" else "holds"
    return Entry(id, verdict, (number,), "2026-01-02", "abcdef1", 61.5, rests, ("a note",), {"torch": "2"})


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of three claims, of which Z2 is stale; Z4 was never measured."""
    path = tmp_path / "measured.json"
    for id in ("Z1", "Z2", "Z3"):
        enter(id, made(id), path)
    monkeypatch.setattr(ledger, "FILE", path)
    monkeypatch.setattr(ledger, "known", lambda: {f"Z{n}": f"labkit/x.py::z{n}" for n in range(1, 5)})
    stale = ["the network minivgg is another one"]
    monkeypatch.setattr(ledger, "reasons", lambda entry: stale if entry.lab == "Z2" else [])
    return path


def test_all_claims_are_listed(kept) -> None:
    lines = labkit("claims").output.splitlines()
    assert lines[0] == "Z1   holds; measured on 2026-01-02 in 62 s; valid"
    assert lines[1] == "      length = 2 [1, 3] m, wanted < 9"
    assert lines[2] == "         beside it, twin: 0.1 [0, 0.2], wanted <= 1"
    assert "Z2   holds; measured on 2026-01-02 in 62 s; stale: the network minivgg is another one" in lines
    assert "Z3   does not hold; measured on 2026-01-02 in 62 s; valid" in lines
    assert "      length = 2 [1, 3] m, wanted < 9: no" in lines
    assert lines[-2] == "Z4   never measured"
    assert lines[-1] == "4 claims: 2 valid, 2 stale. Measure them: labkit claims --measure"


def test_stale_ones_are_listed_alone_and_the_exit_code_says_so(kept) -> None:
    found = labkit("claims", "--stale")
    assert found.exit_code == 1
    assert re.findall(r"^Z\d", found.output, re.M) == ["Z2", "Z4"]
    found = labkit("claims", "Z1", "Z3", "--stale")
    assert (found.exit_code, found.output) == (0, "2 claims: 2 valid, 0 stale.\n")


def test_a_claim_is_told_in_full(kept) -> None:
    text = labkit("claims", "Z1").output
    for line in (
        "a note", "at first: length = 2", "golden: data.render", "networks: minivgg", "on torch 2"
    ):  # fmt: skip
        assert f"      {line}\n" in text


def test_outside_a_checkout_nothing_is_judged(kept, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "reasons", lambda entry: None)
    found = labkit("claims", "Z1", "Z2", "--stale")
    told = "2 claims; whether stale or not is judged in a checkout.\n"
    assert (found.exit_code, found.output) == (0, told)
    assert "valid" not in labkit("claims", "Z1").output


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Claims that were measured, in order; each takes no time, and Z3 fails."""
    order: list[str] = []

    def processes(ids, jobs, mode, say):
        for id in ids:
            order.append(id)
            yield (id, None, "it broke") if id == "Z3" else (id, dataclasses.asdict(made(id, 5.0)), "")

    monkeypatch.setattr(numbers, "_processes", processes)
    monkeypatch.setattr(numbers, "hold_golden_answers", lambda: None)
    return order


def test_what_is_stale_is_measured_and_kept_one_at_a_time(kept, measured) -> None:
    found = labkit("claims", "--measure", "--note", "another network")
    assert found.exit_code == 0
    assert sorted(measured) == ["Z2", "Z4"]
    assert found.output.splitlines()[-1] == "2 of 2 measured."
    now = ledger.read()
    assert (now["Z2"].number("length").value[0], now["Z2"].number("length").first) == (5.0, 2.0)
    assert list(now["Z2"].changes) == ["another network"]
    assert now["Z4"].number("length").first == 5.0
    assert now["Z1"].number("length").value[0] == 2.0


def test_a_valid_claim_is_measured_only_again_and_a_failure_stops_no_other(kept, measured) -> None:
    assert labkit("claims", "Z1", "--measure").output == "Nothing is stale.\n"
    assert measured == []
    found = labkit("claims", "Z3", "Z1", "--measure", "--again")
    assert found.exit_code == 1
    assert measured == ["Z3", "Z1"]
    assert "Z3 could not be measured: it broke" in found.output
    assert "1 of 2 measured." in found.output
    assert ledger.read()["Z1"].number("length").value[0] == 5.0


@pytest.mark.parametrize("why", ["class mode", "an installed kit"])
def test_other_sizes_and_installed_kits_keep_nothing(why: str, kept, measured, monkeypatch) -> None:
    if why == "an installed kit":
        monkeypatch.setattr("labkit.ledger.staleness.checkout", lambda: False)
    more = ["--mode", "class"] if why == "class mode" else ["--again"]
    found = labkit("claims", "Z1", "--measure", *more)
    assert "1 of 1 measured (and not kept)." in found.output
    assert "length = 5 [4, 6] m" in found.output
    assert ledger.read()["Z1"].number("length").value[0] == 2.0


def test_nothing_is_measured_on_code_whose_golden_answers_are_others(kept, monkeypatch) -> None:
    import subprocess

    done = subprocess.CompletedProcess([], 1, "attribution.cam: number 0 was 1, is 2", "")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: done)
    monkeypatch.setattr(numbers, "_processes", lambda *a: pytest.fail("it was measured"))
    found = labkit("claims", "--measure")
    assert found.exit_code == 2
    assert "attribution.cam: number 0 was 1, is 2" in found.output
    assert "python -m labkit.ledger.golden --write" in found.output


def test_mistakes_get_a_sentence(kept) -> None:
    assert "ID must be one of 'Z1', 'Z2', 'Z3', 'Z4'; got 'Z9'" in labkit("claims", "Z9").output
    assert "--mode must be" in labkit("claims", "--mode", "slow").output
    assert set(MODES) == {"full", "class", "quick"}
    assert labkit("claims", "--jobs", "0").exit_code == 2


def test_a_notebook_is_told_the_full_number(kept, monkeypatch) -> None:
    monkeypatch.setattr(ledger, "reasons", lambda entry: [])
    line = "measured on 2026-01-02 in full: 2 [1, 3] m (labkit claims Z1)"
    assert numbers.in_full("Z1", "length") == line
    assert numbers.in_full("Z1", "width") == numbers.in_full("Z4", "length") == ""
    monkeypatch.setattr(ledger, "reasons", lambda entry: ["because"])
    assert numbers.in_full("Z1", "length") == line.replace("in full", "in full, stale")


def test_a_claim_is_measured_in_a_process_of_its_own() -> None:
    """The whole way, with a claim that takes seconds; a broken one says what was wrong."""
    said: list[str] = []
    found = {
        id: (raw, problem) for id, raw, problem in numbers._processes(["A5", "A0"], 2, "quick", said.append)
    }
    assert found["A0"][0] is None
    assert "A0" in found["A0"][1]
    entry = ledger.entry_of(found["A5"][0])
    assert entry.verdict == "holds"
    assert {"models.load_model", "data.render", "experiments.Bench"} <= set(entry.rests["golden"])
    assert "labkit/experiments/which_pixels_matter.py::a5" in entry.rests["code"]
    assert "labkit/exercises/which_pixels_matter.py::cam" in entry.rests["code"]
    assert set(entry.rests["networks"]) == {"minivgg"}
    assert ledger.reasons(entry) == []
    assert said == ["A5 ... (1 of 2)", "A0 ... (2 of 2)"]


def test_the_scoreboard_shows_rows_and_says_how_many_are_stale(tmp_path, monkeypatch) -> None:
    row = Row("clean", "cam", dict.fromkeys(MEASURES["clean"]), 1.0, 100)
    asked: dict = {}

    def rows(scenes, **given):
        asked.update(given, scenes=scenes)
        return [row, dataclasses.replace(row, method="rise", stale=("because",))]

    monkeypatch.setattr(scoreboard, "scoreboard", rows)
    page = tmp_path / "board.html"
    found = labkit("scoreboard", "--out", str(page), "--world", "clean")
    assert found.output == (
        f"wrote {page} (2 rows, 1 of them stale: labkit scoreboard --stale measures these again)\n"
    )
    assert "because" in page.read_text("utf-8")
    assert (asked["bundled"], asked["kept"]) == (scoreboard.BUNDLED, page.with_suffix(".jsonl"))
    assert not asked["fresh"]
    labkit("scoreboard", "--out", str(page), "--stale")  # in place of those that ship
    assert (asked["fresh"], asked["kept"]) == (True, scoreboard.BUNDLED)
    labkit("scoreboard", "--out", str(page), "--stale", "--scenes", "3")
    assert (asked["fresh"], asked["kept"]) == (True, page.with_suffix(".jsonl"))
    labkit("scoreboard", "--out", str(page), "--again")
    assert (asked["bundled"], asked["kept"]) == (None, page.with_suffix(".jsonl"))


@pytest.mark.parametrize(
    ("option", "near"), [("--world", "--world must be one of 'clean'"), ("--method", "--method must be one")]
)
def test_the_scoreboard_names_the_option_that_is_wrong(tmp_path: Path, option: str, near: str) -> None:
    result = labkit("scoreboard", option, "mud", "--out", str(tmp_path / "page.html"))
    assert result.exit_code == 2
    assert near in result.output
    assert not (tmp_path / "page.html").exists()
