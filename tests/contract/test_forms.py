"""Every method on models of another form (outputs that are no tensor, checkpoints, autocast, torch.compile,
torch.jit): the answer of the plain model, or labkit's own sentence."""

from __future__ import annotations

import traceback
import warnings
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import ROWS, ask, close, given_back
from awkward import Head, pictures
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import labkit

IMAGES = pictures("functional")
Pair = namedtuple("Pair", "logits maps")


@dataclass
class Output:
    maps: Tensor
    logits: Tensor
    loss: None = None


class Form(Head):
    """The awkward models' plain one; ``wrap`` makes its outputs of features and scores."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any], use_reentrant: bool | None = None) -> None:
        super().__init__()
        self.wrap, self.use_reentrant = wrap, use_reentrant

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))))

    def forward(self, x: Tensor) -> Any:
        if self.use_reentrant is None:
            maps = self.features(x)
        else:
            maps = checkpoint(self.features, x, use_reentrant=self.use_reentrant)
        return self.wrap(maps, self.fc(maps.mean((2, 3))))


def form(wrap: Callable = lambda maps, scores: scores, **options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return Form(wrap, **options).eval()


def asked(method: str, model: nn.Module, target: Any = 1) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ask(method, model, IMAGES, target)


def right_or_refused(method: str, model: nn.Module, target: Any, plain: Any, near: Callable = close) -> str:
    """Asserts that the answer is the plain model's; gives the sentence of a refusal, of labkit's own."""
    wanted = asked(method, form(), plain)
    try:
        with given_back(model, IMAGES):
            found = asked(method, model, target)
    except (ValueError, TypeError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert Path(labkit.__file__).parent in Path(last.filename).parents, "torch's words"
        assert (last.line or "").startswith("raise"), last
        return str(error)
    assert near(found, wanted)
    return ""


OF_TARGETS = [name for name, row in ROWS.items() if {"target", "class"} & set(row.takes)]
OUTPUTS: dict[str, tuple[Callable, Callable]] = {
    "tuple": (lambda maps, scores: (scores, maps), lambda out: out[0][:, 1]),
    "named": (lambda maps, scores: Pair(scores, maps), lambda out: out.logits[:, 1]),
    "dictionary": (
        lambda maps, scores: {"hidden": [maps], "logits": scores}, lambda out: out["logits"][:, 1]
    ),
    "object": (lambda maps, scores: Output(maps, scores), lambda out: out.logits[:, 1]),
}  # fmt: skip


@pytest.mark.parametrize("method", [m for m in OF_TARGETS if "target" in ROWS[m].takes])
def test_outputs_may_be_more_than_a_tensor(method: str) -> None:
    for wrap, target in OUTPUTS.values():
        assert right_or_refused(method, form(wrap), target, lambda out: out[:, 1]) == ""


@pytest.mark.parametrize("method", OF_TARGETS)
def test_a_class_of_such_outputs_is_refused_with_the_cure(method: str) -> None:
    wrap, _ = OUTPUTS["tuple"]
    with pytest.raises(ValueError, match=r"lambda outputs: outputs\[0\]\[:, 1\]|the model gives a tuple"):
        asked(method, form(wrap), 1)


@pytest.mark.parametrize("method", [m for m in OF_TARGETS if "layer" not in ROWS[m].takes])
def test_checkpoints_make_no_difference(method: str) -> None:
    assert right_or_refused(method, form(use_reentrant=False), 1, 1) == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", OF_TARGETS)
def test_what_is_compiled_is_seen_as_it_is_written(method: str) -> None:
    model = form()
    model.compile(backend="eager")
    model(IMAGES)
    assert right_or_refused(method, model, 1, 1) == ""
    assert torch.equal(model(IMAGES), form()(IMAGES))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", OF_TARGETS)
def test_what_is_traced_is_right_or_refused(method: str) -> None:
    sentence = right_or_refused(method, torch.jit.trace(form(), IMAGES), 1, 1)
    assert not sentence or "scripted" in sentence, sentence


class Auto(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.model(x)


@pytest.mark.parametrize(
    "method", ["saliency", "cam", "grad_cam", "guided_backprop", "deep_shap", "excitation_backprop"]
)
def test_under_autocast_a_map_is_the_plain_one_to_its_precision(method: str) -> None:
    def near(a: Tensor, b: Tensor) -> bool:
        return a.dtype == b.dtype and bool(torch.cosine_similarity(a.flatten(), b.flatten(), 0) > 0.995)

    assert right_or_refused(f"attribution.{method}", Auto(form()).eval(), 1, 1, near) == ""
