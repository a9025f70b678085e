"""The demo of style: every weight is sought and every blend made, on scenes and on photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from labkit.app import demos_style
from labkit.app.demos import DEMOS, OF_PHOTOGRAPHS
from labkit.app.demos_style import WEIGHTS, style_explorer


def test_all_weights_and_blends_are_there(monkeypatch) -> None:
    monkeypatch.setattr(demos_style, "SIDE", 32)
    explorer = style_explorer("minivgg", pictures=1, searched=1, steps=1)
    assert explorer.blended == 4
    assert [one["name"] for one in explorer.styles] == ["mosaic", "marbling", "brush strokes", "scales"]
    assert tuple(explorer.weights["style"]) == WEIGHTS
    page = explorer.to_html(title="What is style?")
    assert "What is style?" in page
    assert len(page) < 8e6


def test_photographs_of_ones_own_are_shown(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demos_style, "SIDE", 32)
    monkeypatch.setattr(demos_style, "WEIGHTS", (1.0,))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(tmp_path / "beach.png")
    explorer = style_explorer("minivgg", tmp_path, pictures=1, searched=1, steps=1)
    assert tuple(explorer.images[0].shape) == (3, 32, 32)
    assert "beach" in str(explorer.get_state())
    assert "style" in DEMOS
    assert "style" in OF_PHOTOGRAPHS
