"""The TCAV explorer's traits, with `set_state` in the browser's place, against the library's own."""

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.concepts import paired_cav_result, tcav_result
from labkit.widgets import TcavExplorer

LABELS = [0, 0, 0, 2, 2, 2]


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def scenes():
    return draw(6, 3, 32, 32, seed=1)


def reds(count, seed):
    pictures = draw(count, 3, 32, 32, seed=seed)
    pictures[:, 0] = 0.6 + 0.4 * pictures[:, 0]
    return pictures


def pairs_of(scenes):
    present = scenes.clone()
    present[:, 0, 8:20, 8:20] = 1
    return present, scenes


def made(tiny, scenes, **given):
    options = {
        "concepts": {"red": reds(6, 2), "noise": draw(6, 3, 32, 32, seed=5)},
        "others": draw(40, 3, 32, 32, seed=4),
        "pairs": {"red": pairs_of(scenes)},
        "layers": ["conv"],
        "random_concepts": 12,
        "draws": 3,
    }
    widget = TcavExplorer(tiny, scenes, LABELS, **(options | given))
    widget.wait_idle()
    return widget


def test_only_what_is_on_view_is_tested_until_more_is_asked_for(tiny, scenes):
    widget = made(tiny, scenes)
    assert (widget.status, widget.error, widget.asked, widget.target) == ("ready", "", [0, 2], 0)
    assert list(widget.rows) == ["red"]
    widget.set_state({"picture": 1})
    widget.wait_idle()
    assert list(widget.rows) == ["red", "noise"]
    widget.precompute()
    assert {(a["target"], a["layer"]) for a in widget._saved()} == {(0, 0), (2, 0)}
    assert all(all(answer["rows"]) for answer in widget._saved())


def test_a_watched_one_tests_all_that_may_be_asked_next(tiny, scenes):
    widget = made(tiny, scenes)
    widget.set_state({"watched": 1})
    widget.wait_idle()
    assert all(all(answer["rows"]) for answer in widget._saved())
    assert len(widget._saved()) == 2


def test_the_effect_of_pairs_and_the_counterfactual_are_the_library_s(tiny, scenes):
    row = made(tiny, scenes).rows["red"]
    present, absent = (part[:3] for part in pairs_of(scenes))
    found = paired_cav_result(tiny, scenes[:3], 0, layer="conv", present=present, absent=absent, pool="mean")
    assert row["effect"] == pytest.approx(found.effect, rel=1e-4)
    assert row["moved"][0] == pytest.approx(found.counterfactual, rel=1e-4)
    assert row["moved"][1] <= row["moved"][0] <= row["moved"][2]
    assert made(tiny, scenes, picture=1).rows["noise"]["moved"] is None


@pytest.mark.filterwarnings("ignore:layer")
def test_the_score_is_near_the_library_s_and_its_null_as_wide(tiny, scenes):
    options = {"random_concepts": 60, "draws": 20}
    row = made(tiny, scenes, **options).rows["red"]
    found = tcav_result(
        tiny, scenes[:3], 0, layer="conv", concept=reds(6, 2), others=draw(40, 3, 32, 32, seed=4),
        pool="mean", **options,
    )  # fmt: skip
    assert row["score"] == pytest.approx(found.score, abs=0.25)
    assert row["chance"] == pytest.approx(float(found.null.mean()), abs=0.1)
    assert len(row["null"]) == 60


def test_own_vectors_are_used_and_wrong_ones_named(tiny, scenes):
    seen = []

    def own(concept, others, penalty):
        seen.append((len(concept), len(others), penalty))
        vector = concept.mean(0) - others.mean(0)
        return vector / vector.norm()

    widget = made(tiny, scenes, cav=own)
    assert set(seen) == {(6, 6, 0.01)}
    assert 0 <= widget.rows["red"]["score"] <= 1
    wrong = made(tiny, scenes, cav=lambda concept, others, penalty: concept)
    assert wrong.status == "error"
    assert "cav must return a vector of the length 6; got (6, 6)" in wrong.error


def test_where_the_gradient_is_constant_it_says_so(scenes):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    ).eval()  # fmt: skip
    widget = made(net, scenes, layers=None)
    assert list(widget.layers) == ["1"]
    assert widget.delivery["constant"]
    assert not made(net, scenes, layers=["0"]).delivery["constant"]


def test_pictures_of_one_s_own_are_a_concept_from_the_second_on(tiny, scenes, tmp_path):
    widget = made(tiny, scenes)
    array = (reds(1, 9)[0].permute(1, 2, 0) * 255).byte().numpy()
    Image.fromarray(array).save(tmp_path / "wall.png")
    widget.load(tmp_path / "wall.png")
    widget.wait_idle()
    assert [caption["name"] for caption in widget.captions] == ["red", "noise", "your pictures"]
    assert "at least 2 pictures" in widget.captions[2]["note"]
    assert (widget.picture, widget.status) == (2, "ready")
    widget.set_state({"upload": {"name": "door", "width": 32, "height": 32, "data": array.tobytes()}})
    widget.wait_idle()
    assert (widget.captions[2]["count"], widget.captions[2]["note"]) == (2, "")
    assert 0 <= widget.rows["your pictures"]["score"] <= 1
    widget.set_state({"path": str(tmp_path)})
    widget.wait_idle()
    assert widget.captions[2]["count"] == 3
    assert widget.shown["places"][2] == [12, 3]
    widget.set_state({"path": str(tmp_path / "none.png")})
    assert widget.refused


def test_the_sheet_says_where_pictures_of_concepts_and_pairs_lie(tiny, scenes):
    sheet = made(tiny, scenes).shown
    assert sheet["places"] == [[0, 6], [6, 6]]
    assert sheet["pairs"] == {"0|0": 12, "0|2": 14}
    assert sheet["count"] == 16
    side = sheet["side"]
    drawn = np.frombuffer(sheet["data"], np.uint8).reshape(-1, sheet["columns"] * side, 3)
    present = drawn[:side, 12 * side : 13 * side].astype(int)
    absent = drawn[:side, 13 * side : 14 * side].astype(int)
    assert np.abs(present - absent).max() > 20


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"concepts": {}}, ValueError, "concepts must name at least one set of pictures; got none"),
        ({"concepts": {"red": reds(1, 2)}}, ValueError, r"concepts\['red'\] must be at least 2 pictures"),
        ({"others": draw(9, 3, 32, 32)}, ValueError, "others must be at least twice as many as the 6"),
        ({"pairs": {"blue": (draw(6, 3, 32, 32),) * 2}}, ValueError, r"pairs\['blue'\] must be the 6 images"),
        ({"pairs": {"red": (draw(5, 3, 32, 32),) * 2}}, ValueError, r"pairs\['red'\] must be the 6 images"),
        ({"layers": ["cnov"]}, KeyError, "conv"),
        ({"draws": 0}, ValueError, "draws must"),
        ({"random_concepts": 0}, ValueError, "random_concepts must"),
        ({"picture": 2}, IndexError, "picture must be the number of a concept, 0 to 1; got 2"),
        ({"target": 1}, IndexError, r"target must be a class with pictures, \[0, 2\]; got 1"),
        ({"layer": 1}, IndexError, "layer must be the number of one of the layers, 0 to 0; got 1"),
    ],
)
def test_illegal_arguments_are_refused_in_words(tiny, scenes, given, error, sentence):
    with pytest.raises(error, match=sentence):
        made(tiny, scenes, **given)


def test_labels_must_fit_the_pictures(tiny, scenes):
    with pytest.raises(ValueError, match="labels must be one a picture, 6; got 2"):
        TcavExplorer(tiny, scenes, [0, 1], concepts={"red": reds(4, 1)}, others=draw(9, 3, 32, 32))
    with pytest.raises(ValueError, match="at least 2 of each class in labels; class 1 has one"):
        TcavExplorer(tiny, scenes, [0, 0, 0, 0, 0, 1], concepts={"red": reds(4, 1)}, others=scenes)


def test_its_name_tells_what_it_shows(tiny, scenes):
    assert repr(made(tiny, scenes)) == "TcavExplorer(model=Tiny, concepts=['red', 'noise'], layers=['conv'])"
