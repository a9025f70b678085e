"""Every method of the registry on every awkward model: a sound answer, the model given back bit for bit."""

from __future__ import annotations

import pytest
import torch
from asking import ONE_BY_ONE, ROWS, applies, ask, close, given_back, precise
from awkward import LARGE, SMALL, build, pictures, shared
from torch import Tensor

PAIRS = [
    pytest.param(method, model, id=f"{method}-{model}")
    for method in ROWS
    for model in (*SMALL, *LARGE)
    if applies(method, model)
]


def sound(answer: Tensor, gives: str, images: Tensor, dtype: torch.dtype) -> None:
    """Of the right shape and kind, finite, and cut off from the graph."""
    if gives == "maps":
        assert answer.shape == (len(images), *images.shape[2:])
    elif gives == "pictures":
        assert answer.shape == images.shape
        assert 0 <= answer.min() <= answer.max() <= 1
    elif gives != "patches":  # which have a row a unit
        assert answer.shape[0] == len(images)
    assert answer.dtype == dtype
    assert not answer.requires_grad
    assert not answer.is_inference()
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_gives_a_sound_answer_and_the_model_back(method: str, name: str) -> None:
    row, model, images = ROWS[method], shared(name), pictures(name)
    targets = torch.tensor([3, 1])
    with given_back(model, images, targets):
        if name == "dead" and row.dead == "warns":
            with pytest.warns(UserWarning, match="exactly zero for 2 of 2 pictures"):
                answer = ask(method, model, images, targets, name)
        else:
            answer = ask(method, model, images, targets, name)
    sound(answer, row.gives, images, next(model.parameters()).dtype)
    if name == "dead" and row.dead == "zero":
        assert not answer.any()
    elif name in SMALL and name != "dead" and "grad_cam" not in method:
        assert answer.std() > 0  # Grad-CAM's ReLU may leave nothing of a random network
    if "pictures" in row.takes and row.gives == "pictures":
        assert (answer == images).all() == (name == "dead")


# What reshapes, normalizes, pools or draws may treat a batch in its own way; the others ask nothing new.
BATCHES = {
    "inplace", "batch norm", "flattens", "max pools", "class maps", "gambler", "one channel", "transformer"
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "name"),
    [pair for pair in PAIRS if pair.values[1] in BATCHES and pair.values[0] in ONE_BY_ONE],
)
def test_a_batch_equals_its_pictures_one_by_one(method: str, name: str) -> None:
    model, images = precise(ROWS[method], build(name), pictures(name, 3))
    targets = torch.tensor([4, 0, 2])
    together = ask(method, model, images, targets, name)
    alone = [ask(method, model, images[i : i + 1], int(targets[i]), name) for i in range(3)]
    assert close(together, torch.cat(alone))


@pytest.mark.parametrize("method", ROWS)
def test_inplace_makes_no_difference(method: str) -> None:
    number = list(ROWS).index(method)
    for name in ("inplace", ("squeezenet", "vgg", "mobilenet")[number % 3]):
        if not applies(method, name):
            continue
        model, images = build(name), pictures(name)
        with_inplace = ask(method, model, images, of=name)
        for module in model.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
        assert close(with_inplace, ask(method, model, images, of=name))
