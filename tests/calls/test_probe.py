"""What a call leaves behind costs a case in every exercise, and so does a gradient that got lost."""

import dataclasses

import pytest
import torch
from demo import SCALE

from labkit.calls.call import perform, realize
from labkit.calls.exercise import Case
from labkit.calls.probe import gradient, wanted
from labkit.calls.recipes import bends, learned
from labkit.checking.audit import audit
from labkit.checking.check import CheckText, run_public
from labkit.checking.judge import Judge
from labkit.exercises import all_exercises, find

COURSE = all_exercises()


def graded(id, function):
    """Public and hidden cases."""
    exercise = dataclasses.replace(find(id), blocks=())
    judge = Judge(exercise, 5)
    call = [perform(function, realize(c.args), realize(dict(c.kwargs)), c.probe) for _, c in judge.cases]
    return judge.result(call)


def tensors(args):
    listed = [one for value in args for one in (value if isinstance(value, list) else [value])]
    return [one for one in listed if isinstance(one, torch.Tensor)]


def lost(result, times=1):
    """What is said of the public cases that failed; of hidden ones ``times`` as many did."""
    failed = [(case.group, case.verdict.difference) for case in result.cases if not case.verdict.passed]
    public, hidden = ([said for kind, said in failed if kind == group] for group in ("public", "hidden"))
    assert len(hidden) == times * len(public)
    return public


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_one_public_and_one_hidden_case_of_every_exercise_look_at_all_arguments(exercise):
    probed = [
        (group, case.probe) for group, case in exercise.cases(3)
        if case.probe and not (group == "public" and case.fails)  # that is shown beside the usual one
    ]  # fmt: skip
    assert probed == [("public", "both"), ("hidden", "both")]
    assert [case.probe for _, case in exercise.cases()] == [
        case.probe for group, case in exercise.cases(3) if group == "public"
    ]


@pytest.mark.parametrize("exercise", [e for e in COURSE if tensors(e.public()[0].args)], ids=lambda e: e.id)
def test_whoever_spoils_a_tensor_of_the_arguments_loses_that_case(exercise):
    """The reference with a careless line after it: right everywhere, and one case of each kind is lost."""

    def careless(*args):
        out = exercise.reference(*args)
        out = out.clone() if isinstance(out, torch.Tensor) else out
        if not any(tensor.requires_grad for tensor in tensors(args)):  # or no gradient can be taken
            tensors(args)[0].copy_(1 - tensors(args)[0].long())
        return out

    result = graded(exercise.id, careless)
    fails = any(case.fails for case in exercise.public())  # then that is the one hidden case that is probed
    (said,) = lost(result, times=0 if fails else 1)
    assert "was changed in place: work on a copy" in said
    assert (result.points < exercise.points) is not fails


def way_in_place(model, images, baseline, target, steps):
    start, way, total = baseline.clone(), images, 0
    way -= baseline
    for k in range(steps):
        x = (start + (k + 0.5) / steps * way).requires_grad_(True)
        total = total + torch.autograd.grad(model(x)[:, target].sum(), x)[0]
    return way * total / steps


def blend_in_place(images, masks, blurred):
    images *= masks[:, None]
    return images + (1 - masks[:, None]) * blurred


def masks_in_place(scores, masks, p):
    masks *= scores[:, None, None]
    return masks.mean(0) / p


def bias_in_place(weight, bias, shift):
    bias -= (weight * shift[None, :, None, None]).sum((1, 2, 3))
    return bias


def noise_on_and_off(model, images, target, noise):
    slopes = []
    for one in noise:
        images += one
        x = images.clone().requires_grad_(True)
        slopes.append(torch.autograd.grad(model(x)[:, target].sum(), x)[0])
        images -= one
    return torch.stack(slopes).mean(0)


@pytest.mark.parametrize(
    ("function", "id", "name"),
    [
        (way_in_place, "integrated_gradients", "images"),
        (blend_in_place, "blend", "images"),
        (masks_in_place, "rise_map", "masks"),
        (bias_in_place, "compensate", "bias"),
        (noise_on_and_off, "smooth_grad", "images"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_in_place_is_answered_by_the_argument_and_the_cure(function, id, name):
    (said,) = lost(graded(f"attribution.{id}", function))
    assert said.startswith(
        f"the result is right, but {name} was changed in place: work on a copy (x = {name}.clone())"
    )
    assert "avoid +=, -=, *=, clamp_() and x[...] =" in said


def test_a_gradient_left_on_the_network_is_answered_by_autograd_grad():
    def backwards(model, images, baseline, target, steps):
        total = torch.zeros_like(images)
        for k in range(steps):
            x = (baseline + (k + 0.5) / steps * (images - baseline)).requires_grad_(True)
            model(x)[:, target].sum().backward()
            total += x.grad
        return (images - baseline) * total / steps

    (said,) = lost(graded("attribution.integrated_gradients", backwards))
    assert "gradients in .grad are not as they were" in said
    assert "torch.autograd.grad(score, x)[0] instead of .backward()" in said


def test_switching_the_pictures_themselves_to_requires_grad_is_seen():
    def saliency(model, images, target):
        images.requires_grad_(True)
        return torch.autograd.grad(model(images)[:, target].sum(), images)[0].abs().amax(1)

    (said,) = lost(graded("attribution.saliency", saliency))
    assert "do that to a copy (x = images.clone().requires_grad_(True))" in said


def test_a_list_that_grows_or_shrinks_is_seen_and_breaks_nothing():
    def step(parameters, gradients, learning_rate):
        return [parameters.pop(0) - learning_rate * g for g in gradients]

    (said,) = lost(graded("warm_up.sgd_step", step))
    assert "a list among the arguments is longer or shorter" in said


def test_a_replaced_slot_of_a_list_is_no_tensor_changed_in_place():
    def replaced(parameters, gradients, learning_rate):
        for i, slope in enumerate(gradients):
            parameters[i] = parameters[i] - learning_rate * slope
        return parameters

    def changed(parameters, gradients, learning_rate):
        for parameter, slope in zip(parameters, gradients, strict=True):
            parameter -= learning_rate * slope
        return parameters

    (said,) = lost(graded("warm_up.sgd_step", replaced))
    assert "a tensor in parameters was put there instead of the one before" in said
    assert "leave the list alone, build a new one" in said
    (said,) = lost(graded("warm_up.sgd_step", changed))
    assert "a tensor in parameters was changed in place: work on a copy (x = tensor.clone())" in said


def test_an_exercise_may_ask_for_a_change_in_place():
    def double(x):
        return x.mul_(2)

    tensor = torch.ones(2, 3)
    asked = dataclasses.replace(
        SCALE, reference=double, blocks=(), public=lambda: [Case("in place", (tensor,), probe="model")]
    )
    assert run_public(asked, double).points == asked.points


@pytest.mark.parametrize("group", ["public", "hidden"])
def test_the_audit_refuses_two_probes_of_a_kind(group):
    def twice(*seed):
        return [dataclasses.replace(case, probe="both") for case in getattr(SCALE, group)(*seed) * 2]

    said = audit(dataclasses.replace(SCALE, **{group: twice}))
    assert any(f"probes more than one {group} case" in line for line in said)


def test_the_gradient_of_a_result_by_hand():
    x, y = learned(torch.tensor([1.0, 2.0])), learned(torch.tensor(3.0))
    assert wanted(((x, 2, torch.ones(2)), {"y": [y]})) == [x, y]
    slopes = gradient({"a": x * y, "b": x**2}, [x, y])
    assert [slope.tolist() for slope in slopes] == [[5.0, 7.0], 3.0]
    assert gradient(x * 2, [x]).tolist() == [2.0, 2.0]
    assert gradient((x * 2).detach(), [x]).tolist() == gradient(7.0, [x]).tolist() == [0.0, 0.0]


LEARNED = ("mask_loss", "area_loss", "blend")
CUTS = {
    "item": lambda out: out.item() if out.numel() == 1 else out.detach(),
    "float": lambda out: float(out) if out.numel() == 1 else out.data,
    "detach": torch.Tensor.detach,
    "tensor": lambda out: torch.tensor(out.tolist(), dtype=out.dtype),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", LEARNED)
def test_a_result_that_has_lost_its_gradient_loses_a_case(name, cut):
    exercise = find(f"attribution.{name}")
    result = graded(exercise.id, lambda *args: CUTS[cut](exercise.reference(*args)))
    (said,) = lost(result, times=2)
    assert "its gradient" in said
    assert "return a tensor that knows where it came from (no .item(), float()" in result.hint


@pytest.mark.parametrize("name", LEARNED)
def test_under_no_grad_and_in_numpy_it_is_lost_too(name):
    exercise = find(f"attribution.{name}")
    result = graded(exercise.id, torch.no_grad()(exercise.reference))
    assert "knows where it came from" in result.hint
    said = str(CheckText(run_public(dataclasses.replace(exercise, blocks=()),
                              lambda *args: exercise.reference(*args).numpy())))  # fmt: skip
    assert "stay in torch, without .numpy() and without .detach()" in said


def test_a_result_that_is_differentiated_must_be_right_in_value_too():
    exercise = find("attribution.area_loss")
    result = graded(exercise.id, lambda *args: exercise.reference(*args) + 1)
    assert result.points == 0
    assert "its value: " in result.cases[-1].verdict.difference


def test_a_right_function_leaves_nothing_on_a_network_that_is_learned_by():
    x, net = learned(torch.rand(1, 3, 6, 5).double()), bends(seed=1)
    outcome = perform(lambda model, x: model(x)[:, 0], (net, x), {}, "both")
    assert outcome.left == ""
    assert outcome.output["its gradient"].shape == x.shape
    assert all(parameter.grad is None for parameter in net.parameters())
