"""What is refused is refused by every method: all go through the door, and no target slips by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from asking import OF_PICTURES, ROWS, ask, given_back
from awkward import CLASSES, build, pictures, shared

from labkit.core import door


@pytest.mark.parametrize("method", OF_PICTURES)
def test_goes_through_the_door(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pictures, model and number of channels are checked: see tests/core/test_door.py."""
    passed: list[tuple] = []

    def seen(place: str, true: Callable) -> Callable:
        def function(*given: object, **options: object) -> object:
            passed.append((place, *map(id, given)))
            return true(*given, **options)

        return function

    for place in ("check_images", "borrow", "own_copy"):
        monkeypatch.setattr(door, place, seen(place, getattr(door, place)))
    model, images = shared("inplace"), pictures("inplace")
    ask(method, model, images)
    assert passed[:3] == [
        ("check_images", id(images)), ("borrow", id(model)), ("own_copy", id(model), id(images))
    ]  # fmt: skip


@pytest.mark.parametrize("method", [name for name in ROWS if name not in OF_PICTURES])
def test_borrows_the_model_where_there_are_no_pictures(method: str) -> None:
    model, images = build("batch norm"), pictures("batch norm")
    model.norm.train()
    with given_back(model), pytest.raises(RuntimeError, match=r"eval mode.*model\.eval\(\)"):
        ask(method, model, images)


TARGETS = {
    "one too many": (CLASSES, IndexError, "0 to 4; got 5"),
    "negative": (-1, IndexError, "got -1"),
    "one of two": (torch.tensor([0, 9]), IndexError, "got 9"),
    "three for two": (torch.tensor([0, 1, 2]), ValueError, r"int64 \(2,\)"),
    "one for two": (torch.tensor([0]), ValueError, r"int64 \(2,\)"),
    "not whole": (torch.tensor([0.0, 1.0]), ValueError, "float32"),
    "a number": (1.5, TypeError, "class index"),
    "a truth": (True, TypeError, "class index"),
    "a word": ("zebra", TypeError, "class index"),
    "nothing": (None, TypeError, "class index"),
}


@pytest.mark.parametrize("method", [m for m in OF_PICTURES if "layer" not in ROWS[m].takes])
def test_refuses_illegal_targets(method: str) -> None:
    model, images = shared("inplace"), pictures("inplace")
    for target, error, sentence in TARGETS.values():
        with given_back(model, images), pytest.raises(error, match=sentence):
            ask(method, model, images, target)


@pytest.mark.parametrize("method", [m for m in OF_PICTURES if "layer" not in ROWS[m].takes])
def test_a_class_s_name_is_answered_with_its_number(method: str) -> None:
    model, images = build("inplace"), pictures("inplace")
    model.classes = ["horse", "zebra", *"abc"]
    with pytest.raises(
        TypeError, match=r"got str\. No class is called 'zebr'. The nearest: 'zebra', class 1\.$"
    ):
        ask(method, model, images, "zebr")


@pytest.mark.parametrize("method", ROWS)
def test_refuses_a_network_that_gives_nan(method: str) -> None:
    model = build("functional")
    with torch.no_grad():
        model.conv1.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="must be (a )?finite"):
        ask(method, model, pictures("functional"))
