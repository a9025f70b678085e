"""How long a class image takes beside the torch-lucent package's, at equal steps and picture, in one run.

    python -m pytest -n0 -s tests/benchmarks/bench_ascent.py

Both climb one class of the bundled network at 128 pixels, on waves with decorrelated colours and with the
usual turns; the peer is kept from enlarging the picture to 224. The two take turns; the median ratio is
printed and held against a bound. Skipped where the peer is not installed; not run with the other tests.
"""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from bench_peers import ratio

from labkit.models import load_model
from labkit.visualization import visualize

STEPS = int(os.environ.get("STEPS", "128"))


def test_a_class_image_takes_at_most_half_of_lucents_time() -> None:
    render = pytest.importorskip("lucent.optvis.render", reason="torch-lucent is not installed")
    from lucent.optvis import param

    warnings.simplefilter("ignore")
    model = load_model("minivgg")

    def ours() -> torch.Tensor:
        return visualize(model, 3, steps=STEPS)

    def theirs() -> object:
        return render.render_vis(
            model, "classifier:3", lambda: param.image(128), thresholds=(STEPS,), show_image=False,
            show_inline=False, progress=False, preprocess=False, fixed_image_size=128,
        )  # fmt: skip

    found = ratio(ours, theirs)
    print(f"{STEPS} steps at 128 pixels: visualize takes {found:.2f} of torch-lucent's time")
    assert found < 0.5
