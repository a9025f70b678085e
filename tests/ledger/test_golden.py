"""Golden answers: every function that a number may rest on behaves as the file says, and a change is seen."""

from __future__ import annotations

import copy
import inspect
import json

import pytest
import torch

from labkit import evaluation, models, optimize
from labkit.core.registry import rows
from labkit.ledger import golden
from labkit.ledger.golden_calls import PACKAGES, calls, ground, packages

STORED = golden.stored()


def test_every_call_has_an_answer_and_every_answer_a_call() -> None:
    assert set(STORED) == set(calls()), "python -m labkit.ledger.golden --write"


@pytest.mark.parametrize("name", STORED)
def test_a_function_behaves_as_its_golden_answer_says(name: str) -> None:
    lines = golden.differences(name, golden.answer(name), STORED.get(name))
    assert not lines, "\n".join(
        [*lines, "If that is meant: python -m labkit.ledger.golden --write, and what rests on it is stale."]
    )


def test_every_public_function_that_computes_has_one() -> None:
    covered = {f for call in calls().values() for f in call.covers}
    asked = [row.function for row in rows(packages()).values()]
    for package, without in (
        (evaluation, ()),
        (models, ("bundled_generators", "bundled_models", "bundled_styles", "list_models")),
        (optimize, ()),
    ):
        named = [n for n in package.__all__ if n not in without]
        asked += [f for f in (getattr(package, n) for n in named) if inspect.isfunction(f)]
    missing = sorted({f.__qualname__ for f in asked if f not in covered})
    assert not missing, f"give these a golden call in labkit/ledger/golden_table.py: {missing}"
    assert {"attribution", "adversarial", "style"} <= set(PACKAGES)


def test_a_changed_behaviour_is_seen_and_rounding_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    true = optimize.gaussian_blur
    assert not golden.compare(["optimize.gaussian_blur"])
    monkeypatch.setattr(optimize, "gaussian_blur", lambda images, sigma: true(images, sigma) * (1 + 1e-6))
    assert not golden.compare(["optimize.gaussian_blur"])
    monkeypatch.setattr(optimize, "gaussian_blur", lambda images, sigma: true(images, sigma * 1.01))
    (lines,) = golden.compare(["optimize.gaussian_blur"]).values()
    assert "optimize.gaussian_blur, 0: " in lines[0]
    assert "(allowed 0.0001)" in lines[0]


def test_a_change_in_few_places_is_seen() -> None:
    maps = torch.rand(4, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = maps.clone()
    moved[2, 40:44, 100] = moved[2, 40:44, 100].flip(0)  # the same numbers, and the same mean of each area
    old, new = {"": golden.summary(maps)}, {"": golden.summary(moved)}
    assert "projection" in golden.differences("attribution.cam", new, old)[0]
    moved = maps.clone()
    moved[1, 70:80, 10:20] += 0.5
    assert "of picture 1" in golden.differences("attribution.cam", {"": golden.summary(moved)}, old)[0]
    moved = maps.clone()
    moved[0, 0, 0] = float("nan")
    assert "NaN" in golden.differences("attribution.cam", {"": golden.summary(moved)}, old)[0]


def test_differences_say_what_and_where() -> None:
    old = {"": ["2", 1.0, 2.0], "name": "a b", "gone": ["one", 1.0]}
    new = {"": ["3", 1.0, 2.0, 3.0], "name": "a c", "more": ["one", 1.0]}
    assert golden.differences("data.render", new, old) == [
        "data.render: was shape 2, is shape 3",
        "data.render, name: was a b, is a c",
        "data.render, gone: is not given any more",
        "data.render, more: is new",
    ]
    assert golden.differences("data.render", new, None) == ["data.render has no golden answer yet"]
    with pytest.raises(KeyError):
        golden.answer("data.nothing")


def test_writing_keeps_what_fits_to_the_digit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: calls()[name] for name in ("evaluation.iou", "models.layer_names")}
    monkeypatch.setattr(golden, "calls", lambda: some)
    path = tmp_path / "golden.json"
    assert golden.write(path) == [f"{name} has no golden answer yet" for name in some]
    text = path.read_text()
    kept = json.loads(text)
    kept["evaluation.iou"][""][1] *= 1 + 1e-6
    path.write_text(golden.text_of(kept))
    assert golden.write(path) == []
    assert json.loads(path.read_text()) == kept
    kept["evaluation.iou"][""][1] *= 2
    path.write_text(golden.text_of({**kept, "evaluation.old": {}}))
    lines = golden.write(path)
    assert lines[0].startswith("evaluation.iou: number 0 was ")
    assert lines[1] == "evaluation.old has no call any more"
    assert path.read_text() == text


def test_golden_calls_leave_the_network_and_the_threads_as_they_were() -> None:
    g, threads = ground(), torch.get_num_threads()
    before = copy.deepcopy(g.model.state_dict())
    golden.answer("attribution.grad_cam")
    assert all(torch.equal(v, before[k]) for k, v in g.model.state_dict().items())
    assert torch.get_num_threads() == threads
