"""The experiments of lab 43: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attribution import guided_backprop
from labkit.data import MiniBroden
from labkit.exercises import find
from labkit.experiments import defence_demonstrations as demonstrations
from labkit.experiments import heatmap_defence as heatmaps
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.robust_training import under_attack
from labkit.models import load_model

from .spy import Locked, assert_sound, controls, quick, unwritten

FLAT, STEP = "pixels with a gradient of exactly 0, ", "largest step of "
FGSM = [
    "no attack", f"{FLAT}FGSM", "pictures without any gradient, FGSM", f"{STEP}FGSM, grey levels"
]  # fmt: skip
KNOWN = [
    "random sign", "another seed's examples", "the undefended network's examples", f"{FLAT}adaptive",
    f"{STEP}the adaptive attack, grey levels",
]  # fmt: skip
WAYS = ("clean", "attacks", "noise", "FGSM only")
PGD = [
    "trained on noise, minus clean", "trained on FGSM only, minus clean",
    *(f"under PGD, trained on {way}" for way in WAYS),
]  # fmt: skip
BESIDE = [
    "under FGSM, trained on FGSM only", *(f"clean pictures, trained on {way}" for way in WAYS),
    *(f"gradient on the object, trained on {way}" for way in WAYS), "edges on the object",
    "the object's area",
]  # fmt: skip
WANTED = {
    "D5": {
        f"accuracy under {way}, {defence}": (threshold, beside)
        for defence in ("quantization", "hot softmax")
        for way, threshold, beside in (("FGSM", ">= 0.7", FGSM), ("the adaptive attack", "<= 0.2", KNOWN))
    },
    "D6": {
        "accuracy under PGD at 4/255, trained on attacks minus clean": (">= 0.3", PGD + BESIDE),
        "accuracy under PGD at 8/255, trained on attacks minus clean": (">= 0.3", PGD),
        "errors by transfer minus errors by PGD, trained on attacks, 4/255": ("<= 0", []),
    },
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id: str) -> None:
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "43_defences_and_how_they_fall"


def test_hidden_gradients_are_zero_and_the_attack_stands_still() -> None:
    found, _ = quick("D5")
    rounded = found.measures[0].control
    assert rounded["pictures without any gradient, FGSM"].value == 1
    assert rounded["largest step of FGSM, grey levels"].value == 0
    known = found.measures[1].control
    assert known["pixels with a gradient of exactly 0, adaptive"].value < 0.5
    assert known["largest step of the adaptive attack, grey levels"].value == pytest.approx(8, abs=0.01)


def linear() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.zeros(12), torch.ones(12)]))
        net[1].bias.copy_(torch.tensor([0.0, -6.0]))
    return net


def test_under_attack_what_is_near_the_border_falls_and_what_is_far_stays() -> None:
    images = torch.tensor([0.52, 0.7, 0.3]).view(3, 1, 1, 1).expand(3, 3, 2, 2).clone()
    labels = torch.tensor([1, 1, 1])  # the last one is misread already
    found = under_attack(linear(), images, labels, 0.1, steps=4, restarts=2)
    assert found.answers.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert (found.images - images).abs().max() <= 0.1 + 1e-6
    assert found.dead == 0


def test_a_network_without_a_gradient_is_told() -> None:
    class Stairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.round())

    images = torch.full((2, 3, 2, 2), 0.9)
    assert under_attack(Stairs().eval(), images, torch.tensor([1, 1]), 0.1, steps=2, restarts=1).dead == 2


def test_the_detector_s_map_is_guided_backprop_and_its_gradient_is_nothing_until_gates_are_soft() -> None:
    model, image = load_model("minivgg"), MiniBroden(1, "test")[0]["image"][None]
    target = model(image).argmax(1)
    own = heatmaps.map_of(heatmaps.guided_copy(model), image, target)
    torch.testing.assert_close(own, guided_backprop(model, image, target))
    slopes = []
    for soft in (0.0, heatmaps.SOFT):
        at = image.clone().requires_grad_(True)
        drawn = heatmaps.map_of(heatmaps.guided_copy(model, soft), at, target, keep=True)
        slope = torch.autograd.grad((drawn * torch.linspace(0, 1, 128)).sum(), at, allow_unused=True)[0]
        slopes.append(0.0 if slope is None else float(slope.abs().max()))
    assert slopes[0] == 0
    assert slopes[1] > 0


def test_what_has_no_relu_has_no_such_map() -> None:
    with pytest.raises(ValueError, match=r"modules nn\.ReLU"):
        heatmaps.guided_copy(linear())
    with pytest.raises(ValueError, match="by must be one of"):
        heatmaps.Detector(linear(), by="ear")


def test_the_demonstrations_in_quick_mode() -> None:
    own = {name: find(f"adversarial.{name}").reference for name in ("climb", "hardened")}
    course = demonstrations.train_a_little(Bench("quick"), **own)
    assert set(course.losses) == {"attacks", "noise"}
    assert all(len(line) == len(course.updates) for line in course.losses.values())
    worst = find("adversarial.robust_accuracy").reference
    greys, lines = demonstrations.curves(Bench("quick"), robust_accuracy=worst)
    assert all(len(line) == len(greys) for line in lines.values())
    values, rows, columns = demonstrations.detectors(Bench("quick"))
    assert values.shape == (len(rows), len(columns))
    for name in own:
        with pytest.raises(NotImplementedError):
            demonstrations.train_a_little(Locked("quick"), **{**own, name: unwritten})
