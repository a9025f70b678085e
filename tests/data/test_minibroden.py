"""The data set: items, maps, boxes, the picture cache."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from labkit.data import CLASSES, CLUTTER, PARTS, MiniBroden, item, minibroden, render, replace, to_tensor
from labkit.data.world import RENDER_VERSION, SIZE

MAPS = ("scene", "object", "part", "material", "texture", "color", "instance")


@pytest.fixture(scope="module")
def data() -> MiniBroden:
    return MiniBroden(8, "val", seed=5)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return tmp_path / "scenes"


def as_bytes(scene) -> np.ndarray:
    return (render(scene) * 255 + 0.5).astype(np.uint8)


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


def test_pictures_are_those_of_the_items_and_are_kept(data, cache_folder, monkeypatch):
    shown, labels = data.pictures()
    assert shown.dtype == np.uint8
    assert shown.shape == (8, SIZE, SIZE, 3)
    np.testing.assert_array_equal(shown[4], as_bytes(data.scene(4)))
    assert labels.tolist() == [CLASSES.index(data.scene(i).objects[0].kind) for i in range(8)]
    (file,) = cache_folder.iterdir()
    assert file.name.startswith(f"v{RENDER_VERSION}-")
    monkeypatch.setattr(minibroden, "render", lambda scene: pytest.fail("drawn again"))
    np.testing.assert_array_equal(data.pictures()[0], shown)


def test_a_drawing_broken_off_leaves_no_picture_file(cache_folder, monkeypatch):
    monkeypatch.setattr(minibroden.np, "save", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        MiniBroden(1).pictures()
    assert not [f for f in cache_folder.iterdir() if f.suffix == ".npy"]


def test_pictures_of_a_fault_are_its_own(cache_folder):
    # Scene 10 shows a horse and gets a tag; the others are taken from the clean world.
    faulty = MiniBroden(11, "train", faults=("tag",))
    assert faulty.scene(10).decals
    shown, _ = faulty.pictures()
    for i in (0, 9, 10):
        np.testing.assert_array_equal(shown[i], as_bytes(faulty.scene(i)))


@pytest.mark.slow
def test_several_processes_draw_the_same(cache_folder):
    data = MiniBroden(3, "test")
    many, _ = data.pictures(processes=2, cache=False)
    np.testing.assert_array_equal(many, data.pictures(cache=False)[0])
    assert not cache_folder.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must"), ({"n": 4, "split": "validation"}, ValueError, "split"),
        ({"n": 4, "faults": ("snows",)}, ValueError, "snow"),
        ({"n": 4, "faults": "snow"}, TypeError, "faults"),
        ({"n": 4, "objects": 5}, ValueError, "1, 2 or 3"),
    ],
)  # fmt: skip
def test_wrong_arguments_say_what_is_allowed(arguments, error, message):
    with pytest.raises(error, match=message):
        MiniBroden(**arguments)


def test_it_tells_what_it_is():
    assert repr(MiniBroden(4)) == "MiniBroden(4, split='train', seed=0)"
    assert "faults=['tag'], objects=2" in repr(MiniBroden(4, faults=("tag",), objects=2))
