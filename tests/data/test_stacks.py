"""Stacks of scenes as bytes: equal to the items, kept once for all who ask, drawn anew where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labkit.data import CLASSES, GROUNDS, MiniBroden, gather, render, replace, stack, stacks
from labkit.data.scenes import MAPS
from labkit.data.world import RENDER_VERSION, SIZE


@pytest.fixture
def data() -> MiniBroden:
    return MiniBroden(4, "val", seed=5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return tmp_path / "scenes"


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A line a scene that is drawn: with its label maps or without."""
    seen: list[bool] = []

    def counted(scene, buffers=False):
        seen.append(buffers)
        return render(scene, buffers=buffers)

    monkeypatch.setattr(stacks, "render", counted)
    return seen


def as_bytes(scene) -> np.ndarray:
    return (render(scene) * 255 + 0.5).astype(np.uint8)


def test_a_stack_holds_what_the_items_hold(data: MiniBroden) -> None:
    found = data.stack(cache=False)
    assert len(found) == 4
    assert set(found.maps) == set(MAPS)
    for i in range(4):
        one = data[i]
        np.testing.assert_array_equal(found.images[i], as_bytes(data.scene(i)))
        for kind in MAPS:
            assert found.maps[kind].dtype == np.uint8
            np.testing.assert_array_equal(found.maps[kind][i], one[kind].numpy())
        assert found.labels[i] == one["label"]
        assert GROUNDS[found.grounds[i]] == data.scene(i).ground
        assert found.scene(i) == data.scene(i)
    assert not found.tags.any()
    drawn = gather(data.scene(i) for i in range(4))
    np.testing.assert_array_equal(found.masks, drawn.masks.numpy())


def test_the_tag_is_where_the_items_say(folder: Path) -> None:
    data = MiniBroden(11, faults=("tag",))
    i = next(i for i in range(11) if data.scene(i).decals)
    found = stack([data.scene(i), replace(data.scene(i), without="tag")])
    np.testing.assert_array_equal(found.tags[0], data[i]["tag"].numpy())
    assert not found.tags[1].any()


def test_pictures_and_maps_are_drawn_once_for_all_who_ask(data, folder: Path, drawings) -> None:
    shown, labels = data.pictures()
    assert drawings == [False] * 4
    assert labels.tolist() == [CLASSES.index(data.scene(i).objects[0].kind) for i in range(4)]
    assert data.pictures()[0].shape == (4, SIZE, SIZE, 3)
    assert drawings == [False] * 4  # the second time they are read
    whole = data.stack()
    assert drawings == [False] * 4 + [True] * 4  # the maps were missing
    np.testing.assert_array_equal(whole.images, shown)
    again = MiniBroden(4, "val", seed=5).stack()
    assert len(drawings) == 8
    np.testing.assert_array_equal(again.maps["part"], whole.maps["part"])
    assert isinstance(again.images, np.memmap)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"v{RENDER_VERSION}-val-5-clean-1-4.{part}.npy" for part in ("facts", "maps", "pictures")
    ]


def test_fewer_scenes_are_read_from_more(data, folder: Path, drawings) -> None:
    data.stack()
    few = MiniBroden(2, "val", seed=5).stack()
    assert len(drawings) == 4
    np.testing.assert_array_equal(few.images[1], as_bytes(data.scene(1)))
    assert few.maps["object"].shape == (2, SIZE, SIZE)
    MiniBroden(5, "val", seed=5).pictures()
    assert len(drawings) == 9


@pytest.mark.parametrize("part", ["pictures", "maps", "facts"])
def test_a_damaged_file_is_drawn_anew(data, folder: Path, drawings, part: str) -> None:
    whole = data.stack()
    kept = {kind: values.copy() for kind, values in whole.maps.items()}
    shown, labels = whole.images.copy(), whole.labels.copy()
    del whole
    (file,) = folder.glob(f"*.{part}.npy")
    content = bytearray(file.read_bytes())
    content[-100] ^= 255
    file.write_bytes(content)
    again = data.stack()
    np.testing.assert_array_equal(again.images, shown)
    np.testing.assert_array_equal(again.labels, labels)
    for kind in MAPS:
        np.testing.assert_array_equal(again.maps[kind], kept[kind])
    assert len(drawings) == (4 if part == "facts" else 8)
    data.stack()
    assert len(drawings) == (4 if part == "facts" else 8)


def test_a_drawing_broken_off_leaves_nothing(data, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def breaks(scene, buffers=False):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(scene, buffers=buffers)

    monkeypatch.setattr(stacks, "render", breaks)
    with pytest.raises(KeyboardInterrupt):
        data.stack()
    assert list(folder.iterdir()) == []
    assert data.stack().images.shape == (4, SIZE, SIZE, 3)


def test_of_a_fault_only_the_scenes_that_it_changes_are_drawn(folder: Path, drawings) -> None:
    """Scene 10 shows a horse and gets a tag; the others are taken from the clean world."""
    clean, faulty = MiniBroden(11), MiniBroden(11, faults=("tag",))
    assert faulty.scene(10).decals
    clean.stack()
    found = faulty.stack()
    assert len(drawings) == 11 + 1
    for i in (0, 9, 10):
        np.testing.assert_array_equal(found.images[i], as_bytes(faulty.scene(i)))
        np.testing.assert_array_equal(found.maps["material"][i], faulty[i]["material"].numpy())
    assert found.tags[10].any()
    faulty.stack()
    assert len(drawings) == 12


def test_edited_scenes_are_kept_by_what_they_are(data, folder: Path, drawings) -> None:
    edits = [replace(data.scene(0), color="red"), replace(data.scene(1), ground="snow")]
    first = stack(edits)
    assert len(drawings) == 2
    np.testing.assert_array_equal(stack(list(edits)).images, first.images)
    assert len(drawings) == 2
    stack(edits[::-1])
    assert len(drawings) == 4
    square = np.full((6, 6, 3), 0.5, np.float32)
    for value in (0.5, 0.6):  # a decal's pixels belong to what a scene is
        stack([replace(data.scene(0), decal=square * value)])
    assert len(drawings) == 6
    assert first.scene(1) == edits[1]
    with pytest.raises(ValueError, match="at least one scene"):
        stack([])


def test_some_scenes_of_a_stack(data) -> None:
    whole = data.stack(cache=False)
    some = whole.select([3, 1])
    assert len(some) == 2
    np.testing.assert_array_equal(some.images[0], whole.images[3])
    np.testing.assert_array_equal(some.maps["scene"][1], whole.maps["scene"][1])
    assert some.labels.tolist() == whole.labels[[3, 1]].tolist()
    assert some.scene(0) == data.scene(3)
    assert len(whole.select(whole.labels == whole.labels[0])) == (whole.labels == whole.labels[0]).sum()
    assert some.select([1]).scene(0) == data.scene(1)


def test_a_stack_goes_into_a_network_as_it_is(data) -> None:
    from labkit.models import features, load_model

    net, images = load_model("minivgg-random"), data.stack(cache=False).images
    shown = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    found, expected = (features(net, x, "features.2", pool="mean") for x in (images, shown))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_several_processes_draw_the_same(folder: Path) -> None:
    data = MiniBroden(3, "test")
    many, one = data.stack(processes=2, cache=False), data.stack(cache=False)
    np.testing.assert_array_equal(many.images, one.images)
    np.testing.assert_array_equal(many.maps["instance"], one.maps["instance"])
    assert not folder.exists()
    with pytest.raises(ValueError, match="processes must be"):
        data.stack(processes=0)
