"""The dissection explorer's traits, with `set_state` in the browser's place, against the library's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from labkit.concepts import dissect, dissect_result
from labkit.concepts.rotations import random_rotation
from labkit.data.photos import save_photo
from labkit.widgets import DissectionExplorer

COUNT = 12
NAMES = {"object": ("block", "rest"), "colour": ("red", "green", "blue")}


@pytest.fixture
def many():
    return torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def maps(many):
    colour = many.argmax(1).numpy().astype(np.uint8) + 1
    thing = (F.avg_pool2d(many[:, 0], 9, 1, 4) > 0.5).numpy().astype(np.uint8) + 1
    return {"object": thing, "colour": colour}


def made(tiny, many, maps, **given):
    options = {"layers": "conv", "quantiles": (0.02, 0.1), "quantile": 0.1}
    widget = DissectionExplorer(tiny, many, maps=maps, names=NAMES, **(options | given))
    widget.wait_idle()
    return widget


def test_the_units_are_the_library_s(tiny, many, maps):
    widget = made(tiny, many, maps, layers="conv", level=0.04)
    assert (widget.status, widget.error, widget.quantile) == ("ready", "", 1)
    given = {"layer": "conv", "maps": maps, "names": NAMES}
    for number, quantile in enumerate((0.02, 0.1)):
        table = widget.delivery["tables"][number]
        rows = dissect(tiny, many, quantile=quantile, **given)
        assert [tuple(widget.labels[c]) for c in table["label"]] == [row[:2] for row in rows]
        assert table["iou"] == pytest.approx([row[2] for row in rows], abs=1e-4)
        whole = dissect_result(tiny, many, quantile=quantile, **given)
        best = whole.ceiling.gather(1, whole.best[:, None])[:, 0]
        assert table["ceiling"] == pytest.approx(best.tolist(), abs=1e-4)
        assert table["top"] == pytest.approx(whole.ceiling.amax(0).tolist(), abs=1e-4)
    values = widget.delivery["tables"][1]["iou"]
    order = sorted(range(6), key=lambda k: -values[k])
    assert [row[0] for row in widget.units] == [k for k in order if values[k] > 0.04]


def test_a_map_and_its_threshold_give_the_mask(tiny, many, maps):
    from labkit.concepts import top_pictures_result

    widget = made(tiny, many, maps, layers="conv", count=3)
    found = widget.delivery
    top = top_pictures_result(tiny, many, "conv", count=3, quantile=0.1)
    assert found["pictures"] == top.pictures.flatten().tolist()
    small = np.frombuffer(found["data"], np.uint8).reshape(6, 3, found["height"], found["width"])
    cut = torch.tensor(found["tables"][1]["cut"]).view(-1, 1, 1, 1)
    large = F.interpolate(torch.from_numpy(small.copy()).float(), size=(32, 32), mode="bilinear") > cut
    assert (large == top.masks).float().mean() > 0.98  # a byte a place


def test_without_labels_there_are_pictures_alone(tiny, many, tmp_path):
    widget = DissectionExplorer(tiny, many, layers="conv")
    widget.wait_idle()
    assert (widget.labels, widget.units) == ([], [])
    assert widget.delivery["tables"][0]["iou"] == []
    for k, image in enumerate(many[:3]):
        save_photo(image, tmp_path / f"{k}.png")
    folder = DissectionExplorer(tiny, str(tmp_path), layers="conv")
    folder.wait_idle()
    assert folder.shown["count"] == 3


def test_turned_units_are_the_library_s_and_networks_stand_side_by_side(tiny, many, maps):
    widget = made({"one": tiny, "two": tiny}, many, maps, layers=["conv"], powers=(0.0, 1.0))
    assert [caption["name"] for caption in widget.captions] == ["one, conv", "two, conv"]
    widget.set_state({"picture": 1, "power": 1})
    widget.wait_idle()
    assert (widget.delivery["picture"], widget.delivery["power"]) == (1, 1)
    rows = dissect(
        tiny, many, layer="conv", maps=maps, names=NAMES, quantile=0.1, rotation=random_rotation(6)
    )
    assert widget.delivery["tables"][1]["iou"] == pytest.approx([row[2] for row in rows], abs=1e-4)


def test_a_stack_of_scenes_brings_its_own_labels(tiny):
    from labkit.data import MiniBroden

    widget = DissectionExplorer(tiny, MiniBroden(3, "val").stack(cache=False), layers="conv")
    widget.wait_idle()
    assert {kind for kind, _ in widget.labels} == {
        "scene", "object", "part", "material", "texture", "color",
    }  # fmt: skip


def test_what_it_cannot_show_is_told(tiny, many, maps):
    with pytest.raises(ValueError, match="at least 2 pictures"):
        DissectionExplorer(tiny, many[:1], layers="conv")
    with pytest.raises(
        ValueError, match=r"maps\['object'\] must be \(N, H, W\) with a map a picture, N = 12"
    ):
        made(tiny, many, {"object": maps["object"][:3]})
    with pytest.raises(ValueError, match="quantiles must"):
        made(tiny, many, maps, quantiles=(0.0,))
    with pytest.raises(TypeError, match="knows no argument 'layer'. The nearest: 'layers'"):
        DissectionExplorer(tiny, many, layers="conv", layer="conv")
    widget = made(tiny, many, maps, layers="cnv")
    assert widget.status == "error"
    assert "conv" in widget.error
    widget = made(tiny, many, maps, layers="conv")
    for name, value in (("picture", 2), ("quantile", 5), ("power", 1), ("level", 9)):
        with pytest.raises(IndexError, match=f"{name} must"):
            setattr(widget, name, value)


def test_the_page_carries_what_was_computed(tiny, many, maps):
    widget = made(tiny, many, maps, layers=["conv"])
    widget.precompute()
    assert len(widget._saved()) == len(widget.captions)
    assert "What do they detect?" in widget.to_html("What do they detect?")
    assert repr(widget).startswith("DissectionExplorer(networks=['")


def test_snapshots_of_a_training_are_told_with_the_network_that_it_gave(tiny, many, maps):
    import copy

    def kept(**card):
        found = copy.deepcopy(tiny)
        found.card = card
        return found

    models = {
        "end": kept(name="net", recipe={"epochs": 8}),
        "early": kept(snapshot={"of": "net", "after epochs": 2}),
        "other": kept(name="other", recipe={"epochs": 8}), "plain": tiny,
    }  # fmt: skip
    widget = made(models, many, maps, layers=["conv"])
    told = [(c.get("of"), c.get("epochs"), c["layer"]) for c in widget.captions]
    assert told == [("net", 8, "conv"), ("net", 2, "conv"), (None, None, "conv"), (None, None, "conv")]
    assert [caption.get("label") for caption in widget.captions[:2]] == ["net, conv"] * 2
