"""The data set: items, maps, boxes, names."""

from __future__ import annotations

import pickle

import pytest
import torch

from labkit.data import CLASSES, CLUTTER, PARTS, MiniBroden, item, render, replace, to_tensor
from labkit.data.world import SIZE

MAPS = ("scene", "object", "part", "material", "texture", "color", "instance")


@pytest.fixture(scope="module")
def data() -> MiniBroden:
    return MiniBroden(8, "val", seed=5)


def test_an_item_holds_what_the_docstring_says(data):
    for i in (0, 3):
        one = data[i]
        assert set(one) == {"image", "label", "present", "box", "tag", *MAPS}
        assert one["image"].dtype == torch.float32
        assert one["image"].shape == (3, SIZE, SIZE)
        assert 0 <= one["image"].min() <= one["image"].max() <= 1
        assert isinstance(one["label"], int)
        assert one["present"].dtype == torch.bool
        assert one["present"].nonzero().ravel().tolist() == [one["label"]]
        assert one["tag"].dtype == torch.bool
        assert not one["tag"].any()
        for kind in MAPS:
            assert one[kind].dtype == torch.int64
            assert one[kind].shape == (SIZE, SIZE)
            if kind != "instance":
                assert 0 <= one[kind].min() <= one[kind].max() < len(data.names[kind])


def test_names_start_with_none_and_objects_with_the_classes():
    names = MiniBroden.names
    assert names["label"] == list(CLASSES)
    assert all(names[kind][0] == "none" for kind in MAPS if kind != "instance")
    assert names["object"][1:] == [*CLASSES, *CLUTTER]
    assert names["part"][1:] == list(PARTS)
    assert [len(names[k]) - 1 for k in ("scene", "part", "material", "texture", "color")] == [6, 12, 4, 6, 11]


def test_label_box_and_maps_tell_of_the_same_object(data):
    for i in range(len(data)):
        one = data[i]
        mask = one["instance"] == 1
        assert one["object"][mask].unique().tolist() == [one["label"] + 1]
        x0, y0, x1, y1 = one["box"].tolist()
        rows, columns = torch.where(mask)
        assert (x0, y0) == (int(columns.min()), int(rows.min()))
        assert (x1, y1) == (int(columns.max()) + 1, int(rows.max()) + 1)
        assert CLASSES[one["label"]] == data.scene(i).objects[0].kind


def test_several_objects_are_all_present():
    one = MiniBroden(2, objects=3)[1]
    assert one["present"].sum() == 3
    seen = {int(v) - 1 for v in one["object"].unique() if 0 < v <= len(CLASSES)}
    assert seen == set(one["present"].nonzero().ravel().tolist())
    assert one["present"][one["label"]]


def test_the_tag_box_marks_the_changed_pixels():
    data = MiniBroden(60, faults=("tag",))
    i = next(i for i in range(60) if data.scene(i).decals)
    one, bare = data[i], item(replace(data.scene(i), without="tag"))
    changed = (one["image"] != bare["image"]).any(0)
    assert changed.any()
    assert not (changed & ~one["tag"]).any()
    assert CLASSES[one["label"]] == "horse"


def test_an_object_taken_away_leaves_an_item_without_it(data):
    bare = item(replace(data.scene(0), without=1))
    assert bare["label"] == -1
    assert not bare["present"].any()
    assert bare["box"].tolist() == [0, 0, 0, 0]


def test_it_is_a_sequence_that_loaders_and_processes_take(data):
    assert len(data) == 8
    assert data.scene(-1) == data.scene(7)
    for index in (8, -9):
        with pytest.raises(IndexError, match="0 to 7"):
            data[index]
    again = pickle.loads(pickle.dumps(data))
    torch.testing.assert_close(again[2]["image"], data[2]["image"], rtol=0, atol=0)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=3)))
    assert batch["image"].shape == (3, 3, SIZE, SIZE)
    assert batch["present"].shape == (3, 12)
    torch.testing.assert_close(batch["image"][1], to_tensor(render(data.scene(1))), rtol=0, atol=0)


def test_splits_seeds_and_indices_never_coincide():
    keys = [MiniBroden(3, split, seed).scene(i).key
            for split in ("train", "val", "test") for seed in (0, 1) for i in range(3)]  # fmt: skip
    assert len(set(keys)) == len(keys)
