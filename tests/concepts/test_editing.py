"""Editing a network: a linear one by hand, what stays, and sentences for what does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from labkit.concepts import edit_row, project_out


def net() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 3)).eval()  # fmt: skip
    with torch.no_grad():
        model[4].weight.copy_(
            torch.tensor([[3.0, 4.0, 0.0, 1.0], [1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
        )
        model[4].bias.copy_(torch.tensor([0.5, -1.0, 0.0]))
    return model


RED = torch.tensor([3.0, 4.0, 0.0, 0.0])  # of length 5


def test_the_direction_is_gone_from_the_row_and_half_its_mean_is_in_the_bias() -> None:
    model, read = net(), torch.tensor([[1.0, 2.0, 5.0, 0.0], [3.0, 0.0, 5.0, 9.0]])
    found = project_out(model, RED, layer="4", row=0, features=read)
    torch.testing.assert_close(found[4].weight[0], torch.tensor([0.0, 0.0, 0.0, 1.0]))
    # w . v is 5; the pictures lie at 11/5 and 9/5 along v, on average 2; half of 5 x 2 is given back
    torch.testing.assert_close(found[4].bias, torch.tensor([5.5, -1.0, 0.0]))
    assert torch.equal(found[4].weight[1:], model[4].weight[1:])
    assert project_out(model, RED, layer="4", row=0)[4].bias[0] == 0.5
    whole = project_out(model, RED, layer="4", row=0, features=read, back=1.0)
    torch.testing.assert_close(whole[4].bias[0], torch.tensor(10.5))


def test_all_rows_lose_it_and_a_step_along_it_moves_no_score() -> None:
    model, x = net(), torch.rand(2, 4)
    found = project_out(model, RED * 7, layer="4")
    torch.testing.assert_close(found[4](x + RED), found[4](x))
    assert not torch.allclose(model[4](x + RED), model[4](x))
    across = torch.tensor([4.0, -3.0, 1.0, 2.0])
    torch.testing.assert_close(found[4](x + across) - found[4](x), model[4](x + across) - model[4](x))


def test_of_a_convolution_each_place_of_the_kernel_loses_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU()).eval()
    vector = torch.tensor([1.0, 1.0, 0.0])
    found = project_out(model, vector, layer="0")
    assert (found[0].weight[:, 0] + found[0].weight[:, 1]).abs().max() < 1e-6
    assert found[0].bias is None
    assert torch.equal(found[0].weight[:, 2], model[0].weight[:, 2])
    given_back = project_out(model, vector, layer="0", features=torch.ones(2, 3))[0].bias
    along = (model[0].weight.sum((2, 3)) @ vector) / 2  # the kernel's sum meets (1, 1, 1): v . 1 is 2 / |v|
    torch.testing.assert_close(given_back, along.detach(), rtol=1e-4, atol=1e-5)


def test_a_row_is_changed_and_nothing_else() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    found = edit_row(model, RED, layer="4", row=2, bias=0.25)
    assert found[4].weight[2].tolist() == [3.0, 5.0, 1.0, 1.0]
    assert found[4].bias.tolist() == [0.5, -1.0, 0.25]
    assert torch.equal(found[4].weight[:2], model[4].weight[:2])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not found.training
    assert found[4].weight.requires_grad
    assert found[4].weight is not model[4].weight


def test_a_network_of_the_kit_keeps_its_names_and_its_precision() -> None:
    from labkit.models import load_model

    model = load_model("minivgg").double()
    found = edit_row(model, torch.zeros(160), layer="classifier", row=3)
    x = torch.rand(1, 3, 128, 128).double()
    assert torch.equal(found(x), model(x))
    assert (found.classes, found.input_size) == (model.classes, 128)


@pytest.mark.parametrize(
    ("error", "given", "sentence"),
    [
        (ValueError, {"vector": torch.zeros(4)}, "vector must not be all zeros"),
        (ValueError, {"vector": torch.ones(5)}, r"one entry for each of the 4 channels .* got \(5,\)"),
        (ValueError, {"vector": torch.tensor([1.0, float("nan"), 0.0, 0.0])}, "vector must be finite"),
        (ValueError, {"layer": "1"}, "linear layer or a convolution in one group; '1' is a ReLU"),
        (KeyError, {"layer": "fc"}, "layer must be a dotted name of the model"),
        (IndexError, {"row": 3}, "one of the 3 rows of '4', 0 to 2; got 3"),
        (IndexError, {"row": "horse"}, "model.classes.index"),
        (ValueError, {"features": torch.ones(2, 3)}, "a row of 4 numbers a picture"),
        (ValueError, {"features": torch.full((2, 4), float("inf"))}, "features must be finite"),
        (ValueError, {"back": -1.0}, "back must be a number of at least 0"),
    ],
)
def test_what_does_not_fit_is_told(error: type[Exception], given: dict, sentence: str) -> None:
    arguments = {"vector": RED, "layer": "4", **given}
    with pytest.raises(error, match=sentence):
        project_out(net(), arguments.pop("vector"), **arguments)


def test_an_edit_that_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="bias must be a finite number"):
        edit_row(net(), RED, layer="4", row=0, bias=float("nan"))
    with pytest.raises(ValueError, match="one entry for each of the 4 channels"):
        edit_row(net(), torch.ones(2, 2), layer="4", row=0)
    with pytest.raises(IndexError, match="one of the 3 rows"):
        edit_row(net(), RED, layer="4", row=-1)
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)).eval()
    with pytest.raises(ValueError, match="in one group"):
        edit_row(grouped, RED, layer="0", row=0)
    with pytest.raises(RuntimeError, match="training mode"):
        edit_row(net().train(), RED, layer="4", row=0)
