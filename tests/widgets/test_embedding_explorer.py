"""The embedding explorer's traits, with `set_state` in the browser's place, against the library's own."""

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.evaluation import neighbor_precision
from labkit.visualization import nearest_neighbors, pca
from labkit.widgets import EmbeddingExplorer, embedding
from labkit.widgets.kit.embeddings import atlas, groups_of

COUNT = 40
KINDS = torch.arange(COUNT) % 2


@pytest.fixture
def rows():
    return torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(0)) + 5 * KINDS[:, None]


@pytest.fixture
def many():
    return torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def made(tiny, many, rows, **given):
    options = {"picture": 1, "perplexities": (3, 8), "perplexity": 8, "steps": 30}
    widget = EmbeddingExplorer(
        tiny, many, features=rows, groups={"kind": (["left", "right"], KINDS)}, **(options | given)
    )
    widget.wait_idle()
    return widget


def scaled(points):
    centred = points - points.mean(0)
    return centred / centred.abs().max()


def test_the_points_are_the_library_s_and_the_purity_too(tiny, many, rows):
    widget = made(tiny, many, rows)
    torch.testing.assert_close(widget.points, scaled(pca(rows)))
    assert widget.delivery["purity"]["kind"] == pytest.approx(
        float(neighbor_precision(pca(rows), KINDS).mean())
    )
    assert widget.shown["purity"]["kind"] == pytest.approx(float(neighbor_precision(rows, KINDS).mean()))
    near = np.frombuffer(widget.shown["near"], np.uint16).reshape(COUNT, 8)
    assert near.tolist() == nearest_neighbors(rows, k=8).tolist()
    assert (widget.status, widget.error, widget.stops) == ("ready", "", [3.0, 8.0])


def test_by_default_it_takes_the_last_feature_map_s_means(tiny, many):
    widget = EmbeddingExplorer(tiny, many, picture=1)
    widget.wait_idle()
    with torch.no_grad():
        torch.testing.assert_close(widget.space.features, torch.relu(tiny.conv(many)).mean((2, 3)))
        answers = tiny(many).argmax(1)
    assert torch.equal(widget.space.groups["answer"][1], answers)
    layer = EmbeddingExplorer(tiny, many, picture=1, layer="conv")
    assert layer.space.features.shape == (COUNT, 6)


def test_tsne_is_seen_running_and_a_newer_perplexity_wins(tiny, many, rows, monkeypatch):
    monkeypatch.setattr(embedding, "PAUSE", 0.0)  # every frame
    widget, frames = made(tiny, many, rows), []
    widget.observe(lambda change: frames.append(change["new"]), "delivery")
    widget.set_state({"picture": 0})
    widget.wait_idle()
    steps = [frame["step"] for frame in frames if frame.get("picture") == 0]
    assert len(steps) > 3
    assert steps == sorted(steps)
    assert frames[-1]["whole"]
    assert not frames[0]["whole"]
    assert frames[0]["purity"] == {}  # no number of points that still move
    for number in (0, 1, 0, 1, 0):
        widget.set_state({"perplexity": number})
    widget.wait_idle()
    assert (widget.delivery["perplexity"], widget.delivery["whole"]) == (0, True)


def test_it_stops_and_goes_on_where_it_was(tiny, many, rows):
    widget, began = made(tiny, many, rows, steps=4000), threading.Event()
    widget.observe(lambda change: began.set() if change["new"].get("step", 0) > 20 else None, "delivery")
    widget.set_state({"picture": 0})
    assert began.wait(60)
    widget.set_state({"cancel": True})
    widget.wait_idle(20)
    assert widget.status == "stopped"
    step = widget._parts[(0, 1)].steps
    assert 20 < step < 4000
    began.clear()
    seen = []
    widget.observe(lambda change: seen.append(change["new"]["step"]), "delivery")
    widget.set_state({"again": 1})
    assert began.wait(60)
    widget.set_state({"cancel": True})
    widget.wait_idle(20)
    assert min(seen) > step


def test_own_neighbours_are_shown_and_wrong_ones_named(tiny, many, rows):
    widget = made(
        tiny,
        many,
        rows,
        neighbors=lambda features, k: (torch.arange(COUNT)[:, None] + 1 + torch.arange(k)) % COUNT,
    )
    assert np.frombuffer(widget.shown["near"], np.uint16).reshape(COUNT, 8)[0].tolist() == [*range(1, 9)]
    wrong = made(tiny, many, rows, neighbors=lambda features, k: features)
    assert wrong.status == "error"
    assert "neighbors must return row numbers of the shape (40, 8); got (40, 4)" in wrong.error


def test_a_folder_of_one_s_own(tiny, many, rows, tmp_path):
    widget = made(tiny, many, rows)
    widget.set_state({"path": str(tmp_path)})
    assert "has none" in widget.error
    for i, image in enumerate(many[:14]):
        array = (image.permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(array).save(tmp_path / f"my_photo_{i:02d}.png")
    widget.set_state({"path": ""})
    widget.set_state({"path": str(tmp_path)})
    widget.wait_idle()
    assert (widget.error, widget.shown["count"], widget.shown["names"][3]) == ("", 14, "my photo 03")
    assert list(widget.shown["groups"]) == ["answer"]
    assert widget.points.shape == (14, 2)
    assert EmbeddingExplorer(tiny, tmp_path, picture=1).stops == [3.0]


def test_the_sheet_holds_every_picture_small(many):
    sheet = atlas(many)
    assert (sheet["side"], sheet["columns"], sheet["count"], sheet["jpeg"]) == (64, 40, 40, False)
    found = np.frombuffer(sheet["data"], np.uint8).reshape(64, 40 * 64, 3)
    small = torch.nn.functional.interpolate(many[7:8], (64, 64), mode="bilinear", antialias=True)[0]
    assert np.abs(found[:, 7 * 64 : 8 * 64] - (small.permute(1, 2, 0) * 255).numpy()).max() <= 0.51
    large = atlas(np.zeros((700, 16, 16, 3), np.uint8))
    assert (large["side"], large["jpeg"]) == (48, True)
    assert Image.open(io.BytesIO(large["data"])).size == (50 * 48, 14 * 48)


def test_rare_groups_are_others():
    values = torch.cat([torch.arange(30), torch.arange(5).repeat(3)])
    found = groups_of({"answer": ([f"c{i}" for i in range(30)], values)})["answer"]
    assert found["names"][:5] == [f"c{i}" for i in range(5)]
    assert found["names"][-1] == "others"
    assert len(found["names"]) == 12


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"images": torch.rand(5, 3, 32, 32)}, ValueError, "at least 12 pictures for an embedding; got 5"),
        ({"features": torch.rand(3, 4)}, ValueError, "a row for each of 40 pictures; got 3"),
        ({"groups": {"kind": (["a"], [0])}}, ValueError, r"groups\['kind'\] must have a number for each"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"picture": 3}, IndexError, "picture must be from 0 to 2"),
        ({"colour": "mood"}, ValueError, "colour must be one of"),
        ({"images": "nowhere"}, FileNotFoundError, "must be a folder that is there; got 'nowhere'"),
    ],
)
def test_illegal_arguments_are_refused_in_words(tiny, many, rows, given, error, sentence):
    images = given.pop("images", many)
    with pytest.raises(error, match=sentence):
        EmbeddingExplorer(tiny, images, **({"features": rows, "picture": 1} | given))


def test_illegal_settings_are_refused_in_words(tiny, many, rows):
    widget = made(tiny, many, rows)
    for name, value, sentence in (("perplexity", 2, "one of the stops"), ("point", 40, "from 0 to 39")):
        with pytest.raises(IndexError, match=sentence):
            setattr(widget, name, value)
    assert repr(widget) == "EmbeddingExplorer(model=Tiny, pictures=40, groups=['kind', 'answer'])"


def test_an_exported_page_carries_what_was_computed(tiny, many, rows):
    widget = made(tiny, many, rows)
    assert [a["picture"] for a in widget._saved()] == [1]
    widget.precompute()
    assert {(a["picture"], a["perplexity"]) for a in widget._saved()} == {(0, 0), (0, 1), (1, 0), (2, 0)}
    assert len(widget.to_html()) > 100_000
