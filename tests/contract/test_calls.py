"""Every method wherever it is called, with pictures as they come, from threads, and after an exception."""

from __future__ import annotations

import threading

import pytest
import torch
from asking import OF_PICTURES, ONE_BY_ONE, ROWS, ask, close, given_back, precise
from awkward import build, pictures, shared
from torch import Tensor, nn

from labkit.models import class_score, direction, unit


@pytest.mark.parametrize("method", ROWS)
@pytest.mark.parametrize("where", ["a thread in inference mode", "no_grad, deterministic"])
def test_works_wherever_it_is_called(method: str, where: str) -> None:
    """The door switches gradients on; what a method makes inside must not remember where it was called."""
    model, images = shared("inplace"), pictures("inplace")
    expected, answers = ask(method, model, images), []

    def in_inference_mode() -> None:
        with torch.inference_mode():
            answers.append(ask(method, model, images * 1))

    with given_back(model, images):
        if where == "no_grad, deterministic":
            torch.use_deterministic_algorithms(True)
            try:
                with torch.no_grad():
                    answers.append(ask(method, model, images))
            finally:
                torch.use_deterministic_algorithms(False)
        else:
            thread = threading.Thread(target=in_inference_mode)
            thread.start()
            thread.join()
    assert close(answers[0], expected)
    assert not answers[0].is_inference()


KINDS = {
    "needs grad, double, a part": lambda x: torch.cat([x, x]).double().requires_grad_(True)[1:3].flip(0),
    "strided": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "channels last, expanded": lambda x: x.to(memory_format=torch.channels_last)[:1].expand(2, -1, -1, -1),
}


@pytest.mark.parametrize("method", OF_PICTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_takes_pictures_as_they_come(method: str, kind: str) -> None:
    model, images = shared("inplace"), pictures("inplace")
    given, expected = KINDS[kind](images), ask(method, model, images)
    with given_back(model, *([] if given.grad_fn is not None else [given])):
        answer = ask(method, model, given)
    assert answer.dtype == torch.float32
    assert close(answer, torch.stack([expected[0]] * 2) if "expanded" in kind else expected)


@pytest.mark.parametrize("method", ONE_BY_ONE)
def test_two_threads_do_not_mix(method: str) -> None:
    model, images = precise(ROWS[method], build("inplace"), pictures("inplace", 6))
    expected = ask(method, model, images)
    answers: dict[int, Tensor] = {}

    def work(i: int) -> None:
        answers[i] = ask(method, model, images[i : i + 1])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    with given_back(model, images):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert close(torch.cat([answers[i] for i in range(6)]), expected)


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError("in the last layer")


@pytest.mark.parametrize("method", ROWS)
def test_the_model_comes_back_after_an_exception(method: str) -> None:
    for name in ("hooked", "gambler", "counter"):
        model, images = build(name), pictures(name)
        model.fc = Breaks().eval()
        with given_back(model, images), pytest.raises(ZeroDivisionError):
            ask(method, model, images)


@pytest.mark.parametrize("method", [name for name, row in ROWS.items() if "target" in row.takes])
def test_takes_targets_of_every_kind(method: str) -> None:
    model, images = shared("inplace"), pictures("inplace")
    layer = {"layer": "conv1"} if "space" in ROWS[method].needs else {}  # the default lies above a unit
    several = torch.tensor([2, 0])
    with given_back(model, images, several):
        by_index = ask(method, model, images, 2)
        assert close(ask(method, model, images, lambda out: out[:, 2]), by_index)
        assert close(ask(method, model, images, class_score(several)), ask(method, model, images, several))
        maps = ask(method, model, images, unit("conv2", 3), **layer)
        along = torch.eye(8)[3]
        assert close(ask(method, model, images, direction("conv2", along), **layer), maps)
    assert maps.shape == by_index.shape
    assert not close(maps, by_index)
    with pytest.raises(ValueError, match="one score a picture"):
        ask(method, model, images, lambda out: out)
    with pytest.raises(KeyError, match="nearest"):
        ask(method, model, images, unit("conv3", 0), **layer)
