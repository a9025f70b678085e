"""V5's instruments by hand, and the experiment on a few scenes."""

from __future__ import annotations

import numpy as np
import torch

from labkit.data import MiniBroden
from labkit.exercises import find
from labkit.experiments import units_and_patches as lab
from labkit.experiments.bench import Bench
from labkit.models import load_model, receptive_fields
from labkit.visualization import top_patches_result

STRONGEST, COMMONEST = (find(f"visualization.{name}").reference for name in ("strongest", "commonest"))


def scenes(n: int = 10):
    return MiniBroden(n, "test").stack()


def test_peaks_lie_in_the_middle_of_the_top_patches() -> None:
    shown, layer = scenes(), "features.16"
    (at,) = lab.peaks(load_model("minivgg"), [layer], shown, strongest=STRONGEST)
    found = top_patches_result(load_model("minivgg"), shown, layer)
    there = found.values[:, :9] > 0
    assert torch.equal(at.pictures[there], found.pictures[there])
    middle = ((found.boxes[..., 0] + found.boxes[..., 2]) // 2).clamp(0, 127)
    assert torch.equal(at.rows[there], middle[there])
    assert receptive_fields(load_model("minivgg"), [layer])[layer].size == (55, 55)


def test_what_lies_under_them_and_elsewhere() -> None:
    shown = scenes()
    at = lab.Peaks(torch.tensor([[0, 3]]), torch.tensor([[5, 70]]), torch.tensor([[9, 64]]))
    labels = lab.under(shown, "object", at)
    assert labels.tolist() == [[int(shown.maps["object"][0, 5, 9]), int(shown.maps["object"][3, 70, 64])]]
    moved = lab.elsewhere(at, len(shown), torch.Generator().manual_seed(0))
    assert not (moved.pictures == at.pictures).any()
    assert torch.equal(moved.rows, at.rows)


def test_random_object_pixels_are_object_pixels() -> None:
    shown = scenes()
    at = lab.at_random(shown, 20, torch.Generator().manual_seed(0))
    assert (lab.under(shown, "object", at) > 0).all()
    assert len(np.unique(at.pictures.numpy())) > 5


def test_the_experiment_on_a_few_scenes() -> None:
    found = lab.v5(Bench("quick"), strongest=STRONGEST, commonest=COMMONEST)
    assert found.uses == ("visualization.strongest", "visualization.commonest")
    assert [m.what[:5] for m in found.measures] == ["conv5", "conv6"]
    for measure in found.measures:
        assert set(measure.must) == {"the same places in other pictures"}
        share = measure.control["share, trained"].value - measure.control["share, twin"].value
        assert abs(share - measure.value.value) < 1e-6
    assert set(found.show) == {"share", "colour"}


def test_functions_that_know_nothing_show_nothing() -> None:
    """Places by lot in place of the strongest: what the claim rests on is gone."""

    def by_lot(batches, count):
        maps = list(batches)
        k, n, wide = maps[0].shape[1], sum(map(len, maps)), maps[0].shape[2] * maps[0].shape[3]
        generator = torch.Generator().manual_seed(1)
        numbers = torch.stack([torch.randperm(n, generator=generator)[:count] for _ in range(k)])
        return numbers * 0.0, numbers, torch.randint(wide, numbers.shape, generator=generator)

    found = lab.v5(Bench("quick"), strongest=by_lot, commonest=COMMONEST)
    assert all(abs(m.value.value) < 0.1 for m in found.measures)
