"""How long SmoothGrad takes beside Captum's and LIME beside the lime package, at equal samples, in one run.

    python -m pytest -n0 -s tests/benchmarks/bench_peers.py

SmoothGrad gets the same noise as Captum's, which runs with the batch that serves it best; LIME the same
superpixels and batches of ten, the package's own. The two take turns; the median ratio is printed and held
against a bound. Skipped where a peer is not installed; not run with the other tests.
"""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from bench_occlusion import network, timed
from torch import Tensor, nn

from labkit.attribution import lime, smooth_grad, superpixels

NETWORKS = os.environ.get("NETWORKS", "minivgg,squeezenet1_1").split(",")
SAMPLES, COPIES, REPEATS = 256, 32, 5


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> float:
    """The median of our seconds over theirs, taken in turns after a first try of each."""
    ours(), theirs()
    found = []
    for turn in range(REPEATS):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        a, b = timed(first)[0], timed(second)[0]
        found.append(a / b if turn % 2 == 0 else b / a)
    return statistics.median(found)


def asked(name: str) -> tuple[nn.Module, Tensor]:
    model, side = network(name)
    return model, torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_smooth_grad_takes_no_longer_than_captums(name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    warnings.simplefilter("ignore")
    model, image = asked(name)
    peer = captum.NoiseTunnel(captum.Saliency(model))

    def theirs(batch: int) -> Tensor:
        return peer.attribute(
            image.clone(), nt_samples=COPIES, nt_samples_batch_size=batch, stdevs=0.15, target=1
        )

    best = min((8, 32), key=lambda batch: timed(lambda: theirs(batch))[0])
    found = ratio(lambda: smooth_grad(model, image, 1, samples=COPIES, noise=0.15), lambda: theirs(best))
    print(f"{name}: SmoothGrad takes {found:.2f} of Captum's time (batch {best})")
    assert found < 1.1


@pytest.mark.parametrize("name", NETWORKS)
def test_lime_takes_at_most_a_fifth_longer_than_the_lime_package(name: str) -> None:
    package = pytest.importorskip("lime.lime_image")
    warnings.simplefilter("ignore")
    model, image = asked(name)
    places = superpixels(image)[0]
    pixels = image[0].permute(1, 2, 0).double().numpy()

    def answers(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(batch).permute(0, 3, 1, 2).float()).numpy()

    def theirs() -> object:
        return package.LimeImageExplainer(random_state=0).explain_instance(
            pixels, answers, labels=(1,), top_labels=None, hide_color=0.5, num_samples=SAMPLES,
            segmentation_fn=lambda _: places.numpy(),
        )  # fmt: skip

    found = ratio(lambda: lime(model, image, 1, segments=places, samples=SAMPLES), theirs)
    print(f"{name}: LIME takes {found:.2f} of the lime package's time")
    assert found < 1.2
