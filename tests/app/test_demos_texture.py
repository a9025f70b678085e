"""Pages of textures: what follows the slider, beside what knows nothing of structure; photographs, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from labkit.app import demos_texture
from labkit.app.demos import DEMOS, OF_PHOTOGRAPHS


def data_of(page: str) -> dict:
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SHOWN": ("weave", "scales"),
        "SIDE": 32,
        "STEPS": 1,
        "GROWN": 16,
        "WINDOWS": (3, 5),
        "FRAMES": 3,
    }
    for name, value in given.items():
        monkeypatch.setattr(demos_texture, name, value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from labkit.data import texture
    from labkit.data.photos import save_photo

    for name in ("mosaic", "hatching"):
        save_photo(texture(name, 40), tmp_path / f"{name}.png")
    return tmp_path


def test_a_texture_by_layer_beside_its_controls() -> None:
    data = data_of(DEMOS["texture"]())
    assert data["sizes"] == [2, 4]
    assert data["ticks"] == ["conv1", "conv2", "conv3", "conv4"]
    assert data["start"] == [0, 3]
    assert len(data["cells"]) == 8
    titles = ["weave", "made up to conv2", "another piece", "untrained", "pixels permuted"]
    assert [panel["title"] for panel in data["cells"][1]["panels"]] == titles
    assert data["cells"][0]["says"].startswith("Conv1: from the texture, Gram matrices are ")
    assert "another piece of it. Beside it: the twin's " in data["cells"][0]["says"]
    assert all(
        cell["says"].endswith("Nearer in Gram matrices is no better picture.") for cell in data["cells"]
    )
    assert len(data["pictures"]) == 2 * (4 + 4)


def test_a_film_of_growing_by_window() -> None:
    data = data_of(DEMOS["grow"]())
    assert data["sizes"] == [2, 2, 3]
    assert data["ticks"] == ["33 %", "67 %", "100 %"]
    assert data["start"] == [1, 1, 2]
    first, last = data["cells"][0], data["cells"][2]
    assert [panel["title"] for panel in first["panels"]] == [
        "weave", "grown from it", "where each came from"
    ]  # fmt: skip
    assert "Window 3: 256 pixels have grown." in last["says"]
    assert int(first["says"].split(": ")[1].split()[0]) < 256


def test_both_take_photographs(photos: Path) -> None:
    assert {"texture", "grow"} <= set(OF_PHOTOGRAPHS)
    data = data_of(DEMOS["texture"]("minivgg", photos=photos))
    assert data["sizes"] == [2, 4]
    assert len(data["cells"][0]["panels"]) == 4
    assert "its permuted pixels" in data["cells"][0]["says"]
    assert data_of(DEMOS["grow"]("minivgg", photos=photos))["sizes"] == [2, 2, 3]


def test_the_share_of_copied_neighbours_is_high_where_all_is_copied(monkeypatch) -> None:
    """In a sample of which no two places are alike, what grows beside a pixel stood beside it there."""
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    monkeypatch.setattr(demos_texture, "_pieces", lambda photos, side: {"noise": [picture]})
    says = [cell["says"] for cell in data_of(DEMOS["grow"]())["cells"]]
    shares = [int(text.split("grown. ")[1].split("%")[0]) for text in says]
    assert min(shares[-3:]) > 60
