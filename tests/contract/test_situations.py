"""What people's own networks do that no zoo shows: the right value by hand, or the words of the refusal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import attribution as A
from labkit.adversarial import fgsm
from labkit.core.targets import direction
from labkit.evaluation import cascading_randomization, deletion
from labkit.models import last_spatial


class Net(nn.Module):
    """Two convolutions, a mean and a linear layer."""

    def __init__(self, out: int = 4, act: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.fc, self.act = nn.Linear(6, out), act

    def feats(self, x: Tensor) -> Tensor:
        return self.act(self.c2(self.act(self.c1(x))))

    def head(self, f: Tensor) -> Tensor:
        return self.fc(f.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.feats(x))


def made(kind: Callable[..., nn.Module] = Net, *args: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*args).eval()


def pictures(n: int = 2, height: int = 12, width: int = 20) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module, way: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.way = net, way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.net, x)


def grad_cam_by_hand(features: Tensor, score: Tensor) -> Tensor:
    slope = torch.autograd.grad(score.sum(), features)[0]
    return (slope.mean((2, 3), keepdim=True) * features).sum(1).detach()


class Reads(Net):
    """Reads its last map in another order of axes, as a text reader does (a step a column)."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order, self.fc = order, nn.Linear(6 * 240, 4)

    def head(self, f: Tensor) -> Tensor:
        return self.fc(f.permute(self.order).flatten(1))


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (0, 3, 1, 2), (0, 3, 2, 1), (0, 2, 3, 1), (0, 2, 1, 3)])
def test_a_map_that_the_head_turns_is_read_before_it_is_turned(order: tuple[int, ...]) -> None:
    net, x = made(Reads, order), pictures()
    features = net.feats(x)
    found = A.grad_cam(net, x, 1, relu=False, upsample=False)
    torch.testing.assert_close(found, grad_cam_by_hand(features, net.head(features)[:, 1]))


class Columns(Net):
    """A recurrent layer over the columns of the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(6 * 12, 5, batch_first=True), nn.Linear(5, 4)

    def head(self, f: Tensor) -> Tensor:
        return self.fc(self.rnn(f.permute(0, 3, 1, 2).flatten(2))[0][:, -1])


def test_grad_cam_of_a_recurrent_layer_over_columns() -> None:
    net, x = made(Columns), pictures()
    features = net.feats(x)
    found = A.grad_cam(net, x, 1, relu=False, upsample=False)
    torch.testing.assert_close(found, grad_cam_by_hand(features, net.head(features)[:, 1]))


TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.transpose(2, 3),
    "mirrored": lambda x: x.flip(3),
    "cropped": lambda x: x[:, :, 2:10, 4:16],
    "turned": lambda x: torch.rot90(x, 1, (2, 3)),
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_maps_of_pictures_turned_within_are_refused(turn: Callable[[Tensor], Tensor]) -> None:
    net, x = Wrapper(made(), lambda net, x: net(turn(x))).eval(), pictures()
    with pytest.raises(ValueError, match="transposed, mirrored or cropped against the picture"):
        A.grad_cam(net, x, 1)
    with pytest.raises(ValueError, match=r"'net\.c2' is transposed, mirrored"):
        A.grad_cam(net, x, 1, layer="net.c2")
    with pytest.raises(ValueError, match=r"'net\.c2' is transposed, mirrored|got rot90"):
        A.excitation_backprop(net, x, 1, layer="net.c2")
    with pytest.raises(ValueError, match=r"layer must be named|got rot90"):
        A.excitation_backprop(net, x, 1)


@pytest.mark.parametrize("there_and_back", [lambda x: x.flip(1), lambda x: x.transpose(2, 3).transpose(2, 3)])
def test_what_leaves_the_places_as_they_are_is_not_turned(there_and_back: Callable) -> None:
    inner, x = made(), pictures()
    features = inner.feats(there_and_back(x))
    net = Wrapper(inner, lambda net, x: net(there_and_back(x))).eval()
    found = A.grad_cam(net, x, 1, relu=False, upsample=False)
    torch.testing.assert_close(found, grad_cam_by_hand(features, inner.head(features)[:, 1]))


def test_a_layer_that_takes_every_other_pixel_crops_nothing() -> None:
    class Focus(Net):
        def __init__(self) -> None:
            super().__init__()
            self.c1 = nn.Conv2d(12, 8, 3, padding=1)

        def feats(self, x: Tensor) -> Tensor:
            parts = [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
            return super().feats(torch.cat(parts, 1))

    net, x = made(Focus), pictures(2, 24, 40)
    features = net.feats(x)
    found = A.grad_cam(net, x, 1, relu=False, upsample=False)
    torch.testing.assert_close(found, grad_cam_by_hand(features, net.head(features)[:, 1]))


def test_activations_that_the_model_keeps_as_arrays() -> None:
    class Logs(Net):
        def feats(self, x: Tensor) -> Tensor:
            f = super().feats(x)
            self.kept = f.detach().cpu().numpy(), np.asarray(f.detach()), f.data.numpy()
            return f

    net, x = made(Logs), pictures(2, 16, 20)
    for name, method in A.METHODS.items():
        found = method.function(net, x, 1, **method.options)
        torch.testing.assert_close(found, method.function(made(), x, 1, **method.options), msg=name)


def test_one_score_a_picture_without_an_axis_of_classes() -> None:
    column, x = made(Net, 1), pictures(2, 16, 20)
    flat = Wrapper(column, lambda net, x: net(x).squeeze(1)).eval()
    with torch.no_grad():
        column.fc.weight.abs_()  # excitation begins at an output that grows
    for name in set(A.METHODS) - {"cam"}:
        method = A.METHODS[name]
        found = method.function(flat, x, lambda outputs: outputs, **method.options)
        right = method.function(column, x, lambda outputs: outputs[:, 0], **method.options)
        torch.testing.assert_close(found, right, msg=name)
    with pytest.raises(ValueError, match=r"such as lambda outputs: outputs\."):
        A.saliency(flat, x, 0)
    single = Wrapper(column, lambda net, x: net(x).squeeze()).eval()
    with pytest.raises(ValueError, match=r"got \(\)\. squeeze\(\) drops .* write squeeze\(1\)"):
        A.saliency(single, x[:1], lambda outputs: outputs)


def test_attention_along_rows_and_columns_turns_nothing() -> None:
    class Coordinates(Net):
        def feats(self, x: Tensor) -> Tensor:
            f = super().feats(x)
            rows, columns = f.mean(3, keepdim=True), f.mean(2, keepdim=True).permute(0, 1, 3, 2)
            rows, columns = F.relu(torch.cat([rows, columns], 2)).split([12, 20], 2)
            return columns.permute(0, 1, 3, 2).sigmoid() * rows.sigmoid() * f

    net, x = made(Coordinates), pictures()
    features = net.feats(x)
    found = A.grad_cam(net, x, 1, relu=False, upsample=False)
    torch.testing.assert_close(found, grad_cam_by_hand(features, net.head(features)[:, 1]))


def test_windows_put_together_again_are_the_last_map() -> None:
    from torchvision.models import MaxVit

    net = made(lambda: MaxVit((56, 56), 4, 7, [8, 8], [1, 1], 4, 0.0, num_classes=4))
    x = pictures(1, 56, 56)
    with torch.no_grad():
        last = nn.Sequential(net.stem, *net.blocks)(x)
    assert last.shape == (1, 8, 7, 7)
    torch.testing.assert_close(last_spatial(net, x).detach(), last)


BRANCHES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "an ensemble": lambda net, x: (net[0](x) + net[1](x)) / 2,
    "flips averaged": lambda net, x: (net[0](x) + net[0](x.flip(3))) / 2,
    "two halves compared": lambda net, x: net[0](x[..., :10]) * net[0](x[..., 10:]),
}


@pytest.mark.parametrize("way", BRANCHES.values(), ids=BRANCHES)
def test_the_picture_itself_is_no_feature_map(way: Callable[[nn.Module, Tensor], Tensor]) -> None:
    net, x = Wrapper(nn.ModuleList([made(), made(Net, 4, torch.tanh)]), way).eval(), pictures()
    with pytest.raises(ValueError, match="is the picture itself"):
        A.grad_cam(net, x, 1)


def test_linear_layers_on_pixels_have_no_feature_map() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(720, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    with pytest.raises(ValueError, match="is the picture itself"):
        A.grad_cam(net, pictures(), 1)


def test_probabilities_are_not_put_through_softmax_again() -> None:
    ends = Wrapper(made(), lambda net, x: (9 * net(x)).softmax(1)).eval()
    logits, x, maps = Wrapper(made(), lambda net, x: 9 * net(x)).eval(), pictures(), torch.rand(2, 12, 20)
    few = {"masks": 12, "cells": 3}
    torch.testing.assert_close(A.rise(ends, x, 1, **few), A.rise(logits, x, 1, **few))
    curves = [deletion(net, x, maps, 1, steps=3).curve for net in (ends, logits)]
    torch.testing.assert_close(*curves)
    whole = [A.smooth_grad_result(net, x, 1, samples=1).whole for net in (ends, logits)]
    torch.testing.assert_close(*whole)
    torch.testing.assert_close(whole[0], ends(x)[:, 1].detach())
    torch.testing.assert_close(fgsm(ends, x, 1), fgsm(logits, x, 1))


def test_a_network_that_the_model_does_not_register() -> None:
    inner, x = made(), pictures()
    hidden = [inner]

    class Closure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return hidden[0](x)

    for name in ("guided_backprop", "deconvnet", "deep_shap", "excitation_backprop", "grad_cam", "cam"):
        method = A.METHODS[name]
        found = method.function(Closure().eval(), x, 1, **method.options)
        torch.testing.assert_close(found, method.function(inner, x, 1, **method.options))
    assert all(p.grad is None and p.requires_grad for p in inner.parameters())


def test_classes_and_directions_made_in_inference_mode() -> None:
    net, x, wanted = made(), pictures(), torch.tensor([1, 2])
    with torch.inference_mode():
        inside, along, shown = wanted.clone(), direction("c1", torch.ones(8)), pictures()
        cascade = cascading_randomization(net, shown, inside, {"s": A.saliency})
    assert cascade.layers == ["fc", "c2", "c1"]
    for name in ("saliency", "grad_cam", "guided_backprop", "excitation_backprop"):
        method = A.METHODS[name]
        found = method.function(net, shown, inside, **method.options)
        torch.testing.assert_close(found, method.function(net, x, wanted, **method.options))
    torch.testing.assert_close(A.saliency(net, x, along), A.saliency(net, x, direction("c1", torch.ones(8))))
    torch.testing.assert_close(fgsm(net, x, inside), fgsm(net, x, wanted))


@pytest.mark.filterwarnings("ignore")  # torch means to drop it
def test_dynamic_quantization_is_refused() -> None:
    quantized = torch.ao.quantization.quantize_dynamic(made(), {nn.Linear}, dtype=torch.qint8).eval()
    for name in ("saliency", "guided_backprop", "deep_shap", "occlusion"):
        with pytest.raises(ValueError, match=r"'fc' .* rounds by the range of the whole batch"):
            A.METHODS[name].function(quantized, pictures(), 1)


def test_what_torch_export_gives_is_not_told_to_call_eval() -> None:
    exported = torch.export.export(made(), (pictures(),)).module()
    with pytest.raises(RuntimeError, match=r"as it was before torch\.export"):
        A.saliency(exported, pictures(), 1)


@torch.library.custom_op("labkit_tests::rectify", mutates_args=())
def _relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def test_an_operator_without_a_derivative_is_named() -> None:
    net, x = made(Net, 4, _relu), pictures()
    for name in ("saliency", "deep_shap", "extremal_perturbation", "meaningful_perturbation"):
        method = A.METHODS[name]
        with pytest.raises(ValueError, match=r"torch knows none of labkit_tests\.rectify"):
            method.function(net, x, 1, **method.options)
    torch.testing.assert_close(A.occlusion(net, x, 1), A.occlusion(made(), x, 1))


def test_refusals_say_what_cures_a_map_or_a_sequence() -> None:
    x = pictures()
    with pytest.raises(ValueError, match=r"lambda outputs: outputs\[:, 1\]\.flatten\(1\)\.mean\(1\)"):
        A.saliency(nn.Conv2d(3, 4, 3).eval(), x, 1)
    steps = Wrapper(made(), lambda net, x: net(x).expand(7, -1, -1)).eval()  # (steps, N, classes)
    with pytest.raises(ValueError, match=r"gives \(7, 2, 4\)\. Where .* outputs\.transpose\(0, 1\)"):
        A.saliency(steps, x, lambda outputs: outputs[:, :, 1].sum(0))


def test_pictures_of_sixteen_bits_are_told_their_divisor() -> None:
    for x in (pictures() * 65535, (pictures() * 65535).to(torch.int32)):
        with pytest.raises((ValueError, TypeError), match=r"/ 65535"):
            A.saliency(made(), x, 1)
