"""Units before and after another task was taught: the same unit, its pictures, its labels."""

from __future__ import annotations

import pytest
import torch

from labkit.data import MiniBroden
from labkit.experiments.dissected_layers import dissected
from labkit.experiments.fine_tuning import before_and_after
from labkit.models import load_model


@pytest.fixture(scope="module")
def stack():
    return MiniBroden(14, "test").stack()


@pytest.fixture(scope="module")
def nets():
    return load_model("minivgg-scenes"), load_model("minivgg-finetuned")


def test_the_best_units_afterwards_with_their_labels_and_pictures(stack, nets):
    pairs = before_and_after(*nets, stack, count=4)
    found = [dissected(net, stack, "features.19") for net in nets]
    best = found[1].iou.amax(1).argsort(descending=True)[:6].tolist()
    assert [pair.unit for pair in pairs] == best
    for pair in pairs:
        for one, side in zip(found, (pair.before, pair.after), strict=True):
            label = int(one.iou[pair.unit].argmax())
            assert (side.kind, side.label) == one.labels[label]
            assert side.iou == pytest.approx(float(one.iou[pair.unit, label]))
            assert side.iou <= side.ceiling + 1e-6
            assert side.pictures.shape == (4, 3, 128, 128)
            assert 0 <= float(side.pictures.min()) <= float(side.pictures.max()) <= 1
        assert 0 <= pair.shared <= 4
    assert str(pairs[0].after).startswith(f"{pairs[0].after.label} ({pairs[0].after.kind}), IoU 0.")


def test_a_network_that_did_not_move_shows_the_same(stack, nets):
    pairs = before_and_after(nets[1], nets[1], stack, units=[3, 9], count=2)
    assert [pair.unit for pair in pairs] == [3, 9]
    for pair in pairs:
        assert torch.equal(pair.before.pictures, pair.after.pictures)
        assert pair.before[:5] == pair.after[:5]


def test_other_units_are_refused(stack, nets):
    with pytest.raises(ValueError, match="as many in its last feature map; got 112 after 160"):
        before_and_after(nets[1], load_model("miniresnet"), stack)
    with pytest.raises(ValueError, match="count must"):
        before_and_after(*nets, stack, count=0)
