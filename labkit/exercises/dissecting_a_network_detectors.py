"""More exercises of the notebook 32: unique detectors, and a layer's units turned by an orthogonal matrix."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("32_dissecting_a_network")
LIBRARY = "labkit.concepts."


def detector_cases(draw: Draw):
    def case(name, units, labels, threshold, probe=None):
        iou = draw.pictures(units, labels) * 0.2
        iou[0] = iou[1]  # two units of one label
        iou[1, 0] /= 2
        iou[:, -1] /= 10
        iou[2] = 0
        iou[2, -1] = threshold  # which is reached and not exceeded
        iou[-1] = threshold / 2  # one that detects nothing
        return Case(name, (iou, threshold), probe=probe)

    yield case("six units, four labels", 6, 4, 0.125)
    yield case("eight units, three labels; the table must stay", 8, 3, 0.15625, "both")
    yield case("seven units, nine labels", 7, 9, 0.09375)
    yield Case("no unit reaches it", (draw.pictures(4, 3) * 0.2, 0.5))


@SHEET.exercise(
    "concepts.unique_detectors", "Who detects what", points=2, minutes=8, difficulty=2,
    cases=detector_cases, compare="exact",
    mistakes=(
        ("found[label[best > threshold]] = True", "found |= (iou > threshold).any(0)",
            "A unit detects the one label that it fits best, even if it passes the threshold on others too."),
        ("found[label[best > threshold]] = True", "found[label] = True",
            "The threshold is missing: every unit fits something best, if badly."),
        ("best > threshold", "best < threshold",
            "These are the labels of units that fit too badly. The IoU must exceed the threshold."),
        ("iou.max(1)", "iou.min(1)", "That is the label that each unit fits worst."),
        ("best > threshold", "best > best.mean()",
            "You compare with the mean of the units. The threshold is given."),
        ("label[best > threshold]", "label[: (best > threshold).sum()]",
            "You take as many units as detect something, and not those that do."),
        ("best > threshold", "best >= threshold", "The IoU must exceed the threshold: take > and not >=."),
    ),
)  # fmt: skip
def unique_detectors(iou, threshold):
    """Which labels have a detector: a unit detects its best label if the IoU exceeds the threshold.

    iou: (K, C), a row a unit; threshold: such as 0.04.
    Returns (C,), True for a label that at least one unit detects: a unique detector.
    """
    best, label = iou.max(1)
    found = torch.zeros(iou.shape[1], dtype=torch.bool)
    found[label[best > threshold]] = True
    return found


def rotation_cases(draw: Draw):
    def case(name, n, units, side, mirrored, probe=None):
        gaussian = draw.numbers(units, units)
        q, r = torch.linalg.qr(gaussian)
        if (torch.linalg.det(q * r.diagonal().sign()) < 0) != mirrored:
            gaussian[:, -1] *= -1
        return Case(name, (draw.numbers(n, units, side, side), gaussian), probe=probe)

    yield case("four units", 2, 4, 3, False)
    yield case("five units, a mirror to undo; the arguments must stay", 2, 5, 2, True, "both")
    yield case("three units, a mirror to undo", 3, 3, 2, True)
    yield case("six units", 1, 6, 3, False)


@SHEET.exercise(
    "concepts.rotate_units", "Turn the axes", points=3, minutes=12, difficulty=3, cases=rotation_cases,
    blocks=tuple(LIBRARY + "rotations." + name for name in ("random_rotation", "rotation_power")),
    mistakes=(
        ("q = q * r.diagonal().sign()", "pass",
            "The signs of R's diagonal are left to chance: then not every rotation is drawn as often."),
        ("q[:, 0] = -q[:, 0]", "q = -q",
            "Minus the whole matrix keeps the determinant where the size is even. Flip one column."),
        ("torch.linalg.det(q) < 0", "False",
            "A matrix with determinant -1 mirrors. Flip its first column, so that it only turns."),
        ("torch.linalg.det(q) < 0", "torch.linalg.det(q) > 0",
            "You mirror the right ones. A rotation has determinant +1."),
        ('"jk,nkhw->njhw"', '"kj,nkhw->njhw"',
            "That is the transpose, which turns the other way. A new unit j is the sum over k of Q[j, k] "
            "times unit k."),
        ('"jk,nkhw->njhw", q', '"jk,nkhw->njhw", gaussian.to(q)',
            "A Gaussian matrix stretches as well as turns. Make it orthogonal by QR."),
    ),
)  # fmt: skip
def rotate_units(activations, gaussian):
    """A layer's units turned by a rotation Q: new unit j is the sum over k of Q[j, k] times unit k.

    activations: (N, K, h, w); gaussian: (K, K), normal numbers. Q is its QR factor with R's diagonal
    made positive; if the determinant is -1, the first column is flipped. Returns (N, K, h, w).
    """
    q, r = torch.linalg.qr(gaussian)
    q = q * r.diagonal().sign()
    if torch.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return torch.einsum("jk,nkhw->njhw", q, activations)
