"""The door: pictures and model as they come, what is refused, and a private copy for the method."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.core.door import asked, derivative, finite, own_copy, seeded
from labkit.models import load_model, wrap_model

SIDE = 8
GOOD = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * SIDE**2, 3)).eval()


ILLEGAL = {
    "array": (lambda x: x.numpy(), TypeError, r"torch\.Tensor.*ndarray"),
    "integers": (lambda x: (x * 255).to(torch.uint8), TypeError, r"uint8.*\n?.*255"),
    "one picture": (lambda x: x[0], ValueError, r"\(N, C, H, W\).*images\[None\]"),
    "empty": (lambda x: x[:0], ValueError, "at least one picture"),
    "nan": (lambda x: x.clone().fill_(float("nan")), ValueError, "finite"),
    "one nan": (lambda x: torch.where(torch.arange(SIDE) == 3, float("nan"), x), ValueError, "finite"),
    "grey levels": (lambda x: x * 255, ValueError, r"\[0, 1\].*wrap_model"),
    "normalized": (lambda x: (x - 0.5) / 0.25, ValueError, r"\[0, 1\]"),
}


@pytest.mark.parametrize("kind", ILLEGAL)
def test_refuses_illegal_pictures(kind: str) -> None:
    spoil, error, sentence = ILLEGAL[kind]
    with pytest.raises(error, match=sentence), asked(net(), spoil(GOOD)):
        pytest.fail("the method must not run")


def test_refuses_a_grey_picture_for_a_colour_network() -> None:
    grey = torch.full((2, 1, 32, 32), 0.5)
    wrapped = wrap_model(net(), classes="abc", input_size=SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)
    for model in (load_model("minivgg-random"), wrapped):
        with pytest.raises(ValueError, match=r"3 channels.*got \(2, 1, 32, 32\)"), asked(model, grey):
            pytest.fail("the method must not run")


def test_refuses_training_mode_and_what_is_no_network() -> None:
    model = net()
    model[1].train()
    with pytest.raises(RuntimeError, match=r"eval mode.*'1' is.*model\.eval\(\)"), asked(model, GOOD):
        pytest.fail("the method must not run")
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got function"), asked(lambda x: x, GOOD):
        pytest.fail("the method must not run")


def test_hands_in_a_private_copy_in_the_model_s_precision() -> None:
    with asked(net().double(), GOOD) as inputs:
        assert inputs.dtype == torch.float64
        assert not inputs.requires_grad
        inputs.zero_()
    assert GOOD.std() > 0.1
    assert own_copy(nn.Flatten().eval(), GOOD).dtype == GOOD.dtype


def test_a_model_without_numbers_gets_a_sentence_and_a_frozen_script_an_answer() -> None:
    with pytest.raises(ValueError, match=r"meta device.*to_empty"), asked(net().to("meta"), GOOD):
        pytest.fail("the method must not run")
    with pytest.warns(FutureWarning, match="deprecated"):
        script = torch.jit.freeze(torch.jit.script(net()))
    with asked(script, GOOD) as inputs:
        assert torch.allclose(script(inputs), net()(GOOD))


def test_the_precision_is_that_of_a_buffer_where_there_are_no_parameters() -> None:
    model = nn.BatchNorm2d(3, affine=False).double().eval()
    with asked(model, GOOD) as inputs:
        assert inputs.dtype == torch.float64


def test_no_parameter_asks_for_a_gradient_inside_unless_it_is_wanted() -> None:
    model = net()
    model[0].bias.requires_grad_(False)
    for frozen in (True, False):
        with torch.no_grad(), asked(model, GOOD, frozen=frozen) as inputs:
            assert torch.is_grad_enabled()
            asking = [p.requires_grad for p in model.parameters()]
            assert asking == ([False] * 4 if frozen else [True, False, True, True])
            derivative(model(inputs.requires_grad_(True)).sum(1), inputs)
        assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
        assert all(p.grad is None for p in model.parameters())


def test_a_model_that_was_made_in_inference_mode_comes_back_too() -> None:
    with torch.inference_mode():
        model = net()
    with asked(model, GOOD) as inputs, torch.no_grad():
        assert model(inputs).shape == (2, 3)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("cut", [Tensor.detach, lambda x: torch.zeros_like(x, requires_grad=True)])
def test_a_score_that_the_picture_does_not_reach_is_refused(cut) -> None:
    x = torch.rand(2, requires_grad=True)
    with pytest.raises(ValueError, match="no gradient reaches the picture.*occlusion"):
        derivative(cut(x), x)
    with pytest.raises(ValueError, match="another sentence"):
        derivative(cut(x), x, "another sentence")


def test_an_answer_must_be_finite_and_comes_back_detached() -> None:
    maps = torch.rand(2, 3, 3, requires_grad=True)
    assert not finite(maps * 2).requires_grad
    for value in (float("nan"), float("inf")):
        for shape in ((2, 3, 3), (2,)):
            with pytest.raises(ValueError, match=r"map must be finite.*labkit\.models\.scores"):
                finite(torch.full(shape, value))


def test_the_seed_is_0_unless_a_generator_is_given() -> None:
    own = torch.Generator().manual_seed(5)
    assert seeded(own) is own
    assert seeded(None).initial_seed() == 0


def test_a_seed_is_no_generator() -> None:
    with pytest.raises(TypeError, match=r"generator must be .* got int\. Write torch\.Gen.*manual_seed\(3\)"):
        seeded(3)
    own = torch.Generator()
    assert seeded(own) is own
    assert seeded(None).initial_seed() == 0
