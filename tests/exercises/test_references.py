"""What the exercises ask for, held to answers known by hand and to other right ways of writing it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.calls.recipes import bends, deeper, linear, nested
from labkit.exercises import all_exercises, find
from labkit.grading import check

COURSE = all_exercises()


def reference(id):
    return find(id).reference


def test_check_prints_the_hint_that_the_audit_found_and_no_other(capsys):
    saliency = dataclasses.replace(find("attribution.saliency"), blocks=())
    wrong = saliency.misconceptions[0]
    assert check(saliency, wrong.function) < saliency.points
    printed = capsys.readouterr().out
    assert [other.name for other in saliency.misconceptions if other.hint in printed] == [wrong.name]


def test_hints_are_sentences():
    hints = [wrong.hint for exercise in COURSE for wrong in exercise.misconceptions]
    assert all(hint[0].isupper() and hint.endswith((".", ")")) for hint in hints)


def test_a_step_by_hand():
    new = reference("warm_up.sgd_step")([torch.tensor([1.0, -2.0])], [torch.tensor([0.5, 4.0])], 0.1)
    torch.testing.assert_close(new[0], torch.tensor([0.95, -2.4]))


def test_the_gradient_of_a_linear_network_is_its_weights():
    net = linear(seed=3)
    gradient = reference("warm_up.input_gradient")(net, torch.rand(2, 3, 4, 4).double(), 2)
    weights = net[1].weight[2].view(3, 4, 4)
    torch.testing.assert_close(gradient, weights.expand(2, 3, 4, 4))
    slopes = reference("attribution.saliency")(net, torch.rand(2, 3, 4, 4).double(), 2)
    torch.testing.assert_close(slopes, weights.abs().amax(0).expand(2, 4, 4))


def test_the_gradient_is_a_finite_difference():
    net, x = bends(seed=5), torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(1)).double()
    gradient = reference("warm_up.input_gradient")(net, x, 1)
    nudged = x.clone()
    nudged[0, 1, 2, 3] += 1e-6
    with torch.no_grad():
        slope = (net(nudged) - net(x))[0, 1] / 1e-6
    torch.testing.assert_close(gradient[0, 1, 2, 3], slope, rtol=1e-4, atol=1e-6)


def test_occlusion_of_a_linear_network_by_hand():
    net = linear(height=4, width=4, seed=7)
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(2)).double()
    found = reference("attribution.occlusion")(net, x, 0, 2, 2, 0.5)
    parts = (net[1].weight[0].view(3, 4, 4) * (x[0] - 0.5)).sum(0)  # what each pixel loses
    by_hand = F.avg_pool2d(parts[None, None], 2)[0] * 4
    torch.testing.assert_close(found, by_hand.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_recording_sees_what_the_layer_gave_even_before_an_in_place_relu():
    x = torch.rand(2, 3, 6, 5).double()
    plain, inplace = (bends(seed=1, inplace=flag) for flag in (False, True))
    kept = reference("warm_up.record_activation")(inplace, "0", x)
    torch.testing.assert_close(kept, plain[0](x).detach())
    assert (kept < 0).any()
    assert not any(len(module._forward_hooks) for module in inplace.modules())


def test_cam_averages_to_the_score_and_is_grad_cam():
    net, x = bends(seed=9), torch.rand(2, 3, 6, 5).double()
    features = net[:2](x).detach().requires_grad_(True)
    score = net[2:](features)[:, 1]
    gradients = torch.autograd.grad(score.sum(), features)[0]
    own = reference("attribution.cam")(features.detach(), net[4].weight.detach(), 1)
    torch.testing.assert_close(own.mean((1, 2)) + net[4].bias[1].detach(), score.detach())
    same = reference("attribution.grad_cam")(features.detach(), gradients, (6, 5)) * 30
    torch.testing.assert_close(own.relu(), same)


def test_energy_inside_by_hand():
    maps, masks = torch.tensor([[[3.0, -5.0], [1.0, 0.0]]]), torch.tensor([[[True, True], [False, False]]])
    assert float(reference("evaluation.energy_inside")(maps, masks)) == 0.75


def listening_by(find_layer=nn.Module.get_submodule, careful=True, copied=True):
    """Features and gradients by another way: a hook on the tensor itself takes the gradient as it passes."""

    def listen(model, layer, images, target):
        features, gradients = [], []

        def hook(_, __, output):
            features.append(output.detach().clone() if copied else output.detach())
            output.register_hook(gradients.append)

        handle = find_layer(model, layer).register_forward_hook(hook)
        try:
            score = model(images)[:, target].sum()
        finally:
            if careful:
                handle.remove()
        handle.remove()
        torch.autograd.grad(score, [*model.parameters()], allow_unused=True)
        return features[0], gradients[0]

    return listen


def test_features_and_gradients_by_another_way_pass_and_slips_do_not(capsys):
    exercise = find("attribution.features_and_gradients")
    assert check(exercise.id, listening_by()) == exercise.points
    assert check(exercise.id, listening_by(getattr)) == 0
    assert check(exercise.id, listening_by(copied=False)) < exercise.points
    assert check(exercise.id, listening_by(careful=False)) < exercise.points
    assert "keep the handle and call handle.remove(), in finally:" in capsys.readouterr().out


def test_features_and_gradients_of_a_network_with_pooling_by_hand():
    net, x = nested(seed=9), torch.rand(2, 3, 6, 5).double()
    features, gradients = reference("attribution.features_and_gradients")(net, "features.1", x, 1)
    torch.testing.assert_close(features, net.features(x).detach())
    weights = net.classifier.weight[1].detach()[:, None, None] / 30
    torch.testing.assert_close(gradients, weights.expand_as(features))


def other_saliency(model, images, target):
    maps = []
    for image in images:
        x = image[None].clone().requires_grad_(True)
        model(x)[0, target].backward()
        maps.append(x.grad.abs().max(1).values)
    for parameter in model.parameters():
        parameter.grad = None
    return torch.cat(maps)


def other_occlusion(model, images, target, window, stride, fill):
    n, _, height, width = images.shape
    rows = sorted({*range(0, height - window, stride), height - window})
    columns = sorted({*range(0, width - window, stride), width - window})
    maps, count = torch.zeros(n, height, width).to(images), torch.zeros(height, width).to(images)
    with torch.no_grad():
        for r in rows:
            for c in columns:
                mask = torch.zeros(height, width, dtype=torch.bool)
                mask[r : r + window, c : c + window] = True
                after = model(torch.where(mask, torch.as_tensor(fill, dtype=images.dtype), images))[:, target]
                maps[:, mask] += (model(images)[:, target] - after)[:, None]
                count += mask
    return maps / count


def other_grad_cam(features, gradients, size):
    weights = gradients.flatten(2).mean(2)
    maps = torch.einsum("nk,nkhw->nhw", weights, features)
    upsampled = nn.Upsample(size=tuple(size), mode="bilinear")(F.relu(maps).unsqueeze(1))
    return upsampled.squeeze(1)


def other_record(model, layer, images):
    kept = {}

    def hook(module, inputs, output):
        kept["it"] = output.clone()

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        model(images)
    finally:
        handle.remove()
    return kept["it"].detach()


def record_by(find_layer, careful=True):
    """Recording that finds its layer in another way, or forgets the failing network."""

    def record(model, layer, images):
        kept, module = [], find_layer(model, layer)
        handle = module.register_forward_hook(lambda m, i, output: kept.append(output.detach().clone()))
        try:
            model(images)
        except RuntimeError:
            if careful:
                handle.remove()
            raise
        handle.remove()
        return kept[0]

    return record


@pytest.mark.parametrize("find_layer", [getattr, lambda model, layer: dict(model.named_children())[layer]])
def test_a_layer_without_its_dotted_name_fails_every_case(find_layer):
    exercise = find("warm_up.record_activation")
    assert check(exercise.id, record_by(nn.Module.get_submodule)) == exercise.points
    assert check(exercise.id, record_by(find_layer)) == 0


def test_a_hook_that_stays_when_the_network_fails_costs_a_case(capsys):
    exercise = find("warm_up.record_activation")
    assert check(exercise.id, record_by(nn.Module.get_submodule, careful=False)) < exercise.points
    assert "keep the handle and call handle.remove(), in finally:" in capsys.readouterr().out


def test_what_is_asked_detached_must_be(capsys):
    def record(model, layer, images):
        kept = []
        handle = model.get_submodule(layer).register_forward_hook(lambda m, i, out: kept.append(out.clone()))
        try:
            model(images)
        finally:
            handle.remove()
        return kept[0]

    exercise = find("warm_up.record_activation")
    assert check(exercise.id, record) < exercise.points
    assert "holds the network's whole computation behind it. Detach it." in capsys.readouterr().out


def test_the_loss_and_its_gradient_are_torchs_own():
    scores = (torch.randn(5, 4, generator=torch.Generator().manual_seed(3)) * 3).requires_grad_(True)
    labels = torch.tensor([0, 3, 1, 1, 2])
    loss, slope = reference("warm_up.loss_and_gradient")(scores.detach(), labels)
    own = F.cross_entropy(scores, labels)
    torch.testing.assert_close(loss, own.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(own, scores)[0])
    assert all(part.isfinite().all() for part in reference("warm_up.loss_and_gradient")(scores * 1e4, labels))


def train_by_torch(network, parameters, batches, learning_rate):
    """Training as people write it: the loss's own graph, and parameters that are changed under no_grad."""
    own, losses = [p.clone().requires_grad_(True) for p in parameters], []
    for images, labels in batches:
        loss = F.cross_entropy(network(own, images), labels)
        loss.backward()
        losses.append(loss.detach())
        with torch.no_grad():
            for p in own:
                p -= learning_rate * p.grad
                p.grad = None
    return [p.detach() for p in own], torch.stack(losses)


def loss_by_torch(scores, labels):
    x = scores.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(x, labels)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def strongest_by_sorting(model, layer, channel, images, count):
    peaks = other_record(model, layer, images)[:, channel].flatten(1).max(1).values
    return torch.tensor(sorted(range(len(images)), key=lambda k: -float(peaks[k]))[:count])


@pytest.mark.parametrize(
    ("id", "function"),
    [
        ("attribution.saliency", other_saliency),
        ("attribution.occlusion", other_occlusion),
        ("attribution.grad_cam", other_grad_cam),
        ("warm_up.record_activation", other_record),
        ("warm_up.loss_and_gradient", loss_by_torch),
        ("warm_up.train", train_by_torch),
        ("warm_up.strongest_pictures", strongest_by_sorting),
        ("attribution.cam", lambda f, w, t: F.conv2d(f, w[t].view(1, -1, 1, 1))[:, 0]),
        ("warm_up.sgd_step", lambda p, g, r: [a.sub(b, alpha=r) for a, b in zip(p, g, strict=True)]),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_another_right_way_of_writing_it_passes(id, function):
    assert check(id, function) == find(id).points


def test_the_builders_give_the_same_network_for_the_same_seed():
    for build in (linear, bends, deeper):
        one, again, other = (list(build(seed=s).parameters()) for s in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
        assert not torch.equal(one[0], other[0])
        assert one[0].dtype == torch.float64
