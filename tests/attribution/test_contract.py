"""Every method of METHODS on every awkward model: a sound map, and the model given back bit for bit."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from awkward import CLASSES, LARGE, NO_GAP, NO_SPACE, SMALL, build, pictures
from torch import Tensor, nn

from labkit import attribution
from labkit.attribution import METHODS, Method
from labkit.models import load_model, unit, wrap_model

HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


def state(model: nn.Module) -> dict[str, object]:
    """All of a model that a method could leave changed."""
    found: dict[str, object] = {}
    for name, p in model.named_parameters():
        grad = None if p.grad is None else (id(p.grad), p.grad.clone())
        found[f"parameter {name}"] = (id(p), p.data_ptr(), p.requires_grad, p.detach().clone(), grad)
    for name, b in model.named_buffers():
        found[f"buffer {name}"] = (id(b), b.detach().clone())
    for name, m in model.named_modules():
        found[f"flags {name}"] = (m.training, getattr(m, "inplace", None), sorted(vars(m)))
        found[f"hooks {name}"] = [list(getattr(m, h).items()) for h in HOOKS]
    return found


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def randomness() -> tuple[object, ...]:
    return torch.get_rng_state(), str(np.random.get_state()), random.getstate()


@contextmanager
def given_back(model: nn.Module, *tensors: Tensor) -> Iterator[None]:
    """Assert that nothing of the model, the tensors or the global random states changed, error or not."""
    before, chance = state(model), randomness()
    kept = [(t.detach().clone(), t.requires_grad, t.grad, t.is_contiguous(), t.stride()) for t in tensors]
    enabled = torch.is_grad_enabled()
    try:
        yield
    finally:
        after = state(model)
        changed = [key for key in before | after if not same(before.get(key), after.get(key))]
        assert not changed, changed
        assert same(chance, randomness()), "a global random state moved"
        assert torch.is_grad_enabled() == enabled
        for tensor, (values, needed, grad, dense, stride) in zip(tensors, kept, strict=True):
            assert torch.equal(tensor, values), "the caller's tensor changed"
            assert (tensor.requires_grad, tensor.is_contiguous(), tensor.stride()) == (needed, dense, stride)
            assert tensor.grad is grad


LEARNED = ("extremal_perturbation", "meaningful_perturbation")


def applies(method: str, model: str) -> bool:
    if method in ("guided_backprop", "deconvnet", "guided_grad_cam") and model == "transformer":
        return False  # GELU has no rule (see test_backprop.py)
    if method == "excitation_backprop" and model == "transformer":
        return False  # attention has no rule (see test_excitation.py)
    if method == "deconvnet" and model == "dead":
        return False  # units that are off let gradients through
    if method in LEARNED and model == "dead":
        return False  # a mask after few steps is not zero where nothing matters
    if method == "rise" and model == "dead":
        return False  # a mean of scores, not of differences: flat, but not zero (see test_rise.py)
    return not ((method == "cam" and model in NO_GAP) or (method == "grad_cam" and model in NO_SPACE))


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-12)


PAIRS = [pytest.param(m, n, id=f"{m}-{n}") for m in METHODS for n in SMALL if applies(m, n)]
BIG = [pytest.param(m, n, id=f"{m}-{n}") for m in METHODS for n in LARGE if applies(m, n)]


def run(name: str, model: nn.Module, images: Tensor, target=1, **options) -> Tensor:
    method = METHODS[name]
    return method.function(model, images, target, **{**method.options, **options})


@pytest.mark.parametrize(("method", "name"), PAIRS + BIG)
def test_gives_a_sound_map_and_the_model_back(method: str, name: str) -> None:
    model, images = build(name), pictures(name)
    targets = torch.tensor([3, 1])
    with given_back(model, images, targets):
        maps = run(method, model, images, targets)
    assert maps.shape == (2, *images.shape[2:])
    assert maps.dtype == next(model.parameters()).dtype
    assert not maps.requires_grad
    assert not maps.is_inference()
    assert torch.isfinite(maps).all()
    if name == "dead":
        assert not maps.any()
    elif name in SMALL and "grad_cam" not in method:  # the ReLU of a random network may leave nothing
        assert maps.std() > 0


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_a_batch_equals_its_pictures_one_by_one(method: str, name: str) -> None:
    model, images = build(name), pictures(name, 3)
    if method in LEARNED:  # a search amplifies the rounding of another batch size
        model, images = model.double(), images.double()
    targets = torch.tensor([4, 0, 2])
    together = run(method, model, images, targets)
    alone = torch.cat([run(method, model, images[i : i + 1], int(targets[i])) for i in range(3)])
    assert close(together, alone)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg11", "inplace", "class maps"])
def test_inplace_makes_no_difference(method: str, name: str) -> None:
    if not applies(method, name):
        pytest.skip(f"{method} is not defined for {name}")
    model, images = build(name), pictures(name)
    with_inplace = run(method, model, images)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    assert close(with_inplace, run(method, model, images))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "where", ["no_grad", "inference_mode", "thread", "inference tensor", "deterministic"]
)
def test_works_wherever_it_is_called(method: str, where: str) -> None:
    model, images = build("inplace"), pictures("inplace")
    expected, answers = run(method, model, images), []
    with given_back(model, images):
        if where == "no_grad":
            with torch.no_grad():
                answers.append(run(method, model, images))
        elif where == "inference_mode":
            with torch.inference_mode():
                answers.append(run(method, model, images))
        elif where == "thread":
            thread = threading.Thread(target=lambda: answers.append(run(method, model, images)))
            thread.start()
            thread.join()
        elif where == "inference tensor":
            with torch.inference_mode():
                inside = images * 1
            answers.append(run(method, model, inside))
        else:
            torch.use_deterministic_algorithms(True)
            try:
                answers.append(run(method, model, images))
            finally:
                torch.use_deterministic_algorithms(False)
    assert close(answers[0], expected)
    assert not answers[0].is_inference()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["needs grad", "strided", "channels last", "expanded", "float64", "part"])
def test_takes_pictures_as_they_come(method: str, kind: str) -> None:
    model, images = build("inplace"), pictures("inplace")
    expected = run(method, model, images)
    given = {
        "needs grad": lambda: images.clone().requires_grad_(True),
        "strided": lambda: images.transpose(2, 3).contiguous().transpose(2, 3),
        "channels last": lambda: images.contiguous(memory_format=torch.channels_last),
        "expanded": lambda: images[:1].expand(2, -1, -1, -1),
        "float64": lambda: images.double(),
        "part": lambda: torch.cat([images, images])[1:3].flip(0),
    }[kind]()
    with given_back(model, given):
        maps = run(method, model, given)
    assert maps.dtype == torch.float32
    assert close(maps, expected[:1].expand(2, -1, -1) if kind == "expanded" else expected)


@pytest.mark.parametrize("method", METHODS)
def test_two_threads_do_not_mix(method: str) -> None:
    model, images = build("inplace"), pictures("inplace", 6)
    expected = run(method, model, images)
    answers: dict[int, Tensor] = {}

    def work(i: int) -> None:
        answers[i] = run(method, model, images[i : i + 1])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    with given_back(model, images):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert close(torch.cat([answers[i] for i in range(6)]), expected)


@pytest.mark.parametrize("method", METHODS)
def test_the_model_comes_back_after_an_exception(method: str) -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError("in the last layer")

    for name in ("hooked", "gambler", "counter"):
        model = build(name)
        model.fc = Breaks().eval()
        images = pictures(name)
        with given_back(model, images), pytest.raises(ZeroDivisionError):
            run(method, model, images)


ILLEGAL = {
    "array": (lambda x: x.numpy(), TypeError, r"torch\.Tensor.*ndarray"),
    "integers": (lambda x: (x * 255).to(torch.uint8), TypeError, r"uint8.*\n?.*255"),
    "one picture": (lambda x: x[0], ValueError, r"\(N, C, H, W\).*images\[None\]"),
    "empty": (lambda x: x[:0], ValueError, "at least one picture"),
    "nan": (lambda x: x.clone().fill_(float("nan")), ValueError, "finite"),
    "one nan": (lambda x: torch.where(torch.arange(SIZE) == 3, float("nan"), x), ValueError, "finite"),
    "grey levels": (lambda x: x * 255, ValueError, r"\[0, 1\].*wrap_model"),
    "normalized": (lambda x: (x - 0.5) / 0.25, ValueError, r"\[0, 1\]"),
}
SIZE = 32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ILLEGAL)
def test_refuses_illegal_pictures(method: str, kind: str) -> None:
    spoil, error, sentence = ILLEGAL[kind]
    model, images = build("inplace"), pictures("inplace")
    with given_back(model, images), pytest.raises(error, match=sentence):
        run(method, model, spoil(images))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("target", "error", "sentence"),
    [
        (CLASSES, IndexError, "0 to 4; got 5"),
        (-1, IndexError, "got -1"),
        (torch.tensor([0, 9]), IndexError, "got 9"),
        (torch.tensor([0, 1, 2]), ValueError, r"int64 \(2,\)"),
        (torch.tensor([0.0, 1.0]), ValueError, "float32"),
        (1.5, TypeError, "class index"),
        (True, TypeError, "class index"),
        ("zebra", TypeError, "class index"),
        (None, TypeError, "class index"),
    ],
    ids=str,
)
def test_refuses_illegal_targets(method: str, target: object, error: type, sentence: str) -> None:
    model, images = build("inplace"), pictures("inplace")
    with given_back(model, images), pytest.raises(error, match=sentence):
        run(method, model, images, target)


@pytest.mark.parametrize("method", METHODS)
def test_refuses_training_mode_and_leaves_it(method: str) -> None:
    model, images = build("batch norm"), pictures("batch norm")
    for part in (model, model.norm):
        part.train()
        with given_back(model, images), pytest.raises(RuntimeError, match=r"eval mode.*model\.eval\(\)"):
            run(method, model, images)
        model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_refuses_what_is_no_network(method: str) -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got function"):
        run(method, lambda x: x.mean((2, 3)), pictures("inplace"))


@pytest.mark.parametrize("method", METHODS)
def test_refuses_a_network_that_gives_nan(method: str) -> None:
    model = build("functional")
    with torch.no_grad():
        model.conv1.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="map must be finite"):
        run(method, model, pictures("functional"))


@pytest.mark.parametrize("method", METHODS)
def test_refuses_a_grey_picture_for_a_colour_network(method: str) -> None:
    grey = pictures("one channel")
    wrapped = wrap_model(build("functional"), classes="abcde", input_size=32, mean=(0.5,) * 3, std=(0.2,) * 3)
    for model in (load_model("minivgg-random"), wrapped):
        with pytest.raises(ValueError, match=r"3 channels.*got \(2, 1, 32, 32\)"):
            run(method, model, grey)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "cam"])
def test_takes_callables_and_units_as_targets(method: str) -> None:
    model, images = build("inplace"), pictures("inplace")
    with given_back(model, images):
        by_index = run(method, model, images, 2)
        assert close(run(method, model, images, lambda out: out[:, 2]), by_index)
        options = {"layer": "conv1"} if "grad_cam" in method else {}
        maps = run(method, model, images, unit("conv2", 3), **options)
    assert maps.shape == by_index.shape
    assert not close(maps, by_index)
    with pytest.raises(ValueError, match="one score a picture"):
        run(method, model, images, lambda out: out)
    with pytest.raises(KeyError, match="nearest"):
        run(method, model, images, unit("conv3", 0), **options)


def test_every_public_method_is_in_the_table() -> None:
    public = {
        name
        for name in attribution.__all__
        if inspect.isfunction(getattr(attribution, name)) and not name.endswith("_result")
    }
    assert public == set(METHODS) | set(attribution.TOOLS)


@pytest.mark.parametrize("name", METHODS)
def test_the_table_is_true(name: str) -> None:
    method = METHODS[name]
    assert isinstance(method, Method)
    assert method.function is getattr(attribution, name)
    when, models, scope = method.labels
    assert when in ("post hoc", "intrinsic")
    assert models in ("specific", "agnostic")
    assert scope in ("local", "global")
    text = inspect.getdoc(method.function)
    assert ">>> " in text
    assert "Source: " in text
    assert "Unit: " in text
    labels = text.partition("Labels: ")[2].partition("Source:")[0]
    assert when in labels
    assert models in labels
    assert scope in labels
    parameters = list(inspect.signature(method.function).parameters.values())
    assert [p.name for p in parameters[:3]] == ["model", "images", "target"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[3:])
