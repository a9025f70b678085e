"""Scenes: nothing goes with the class unless a fault says so; an edit touches what it names and no more."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from labkit.data import CLASSES, GROUNDS, TEXTURES, MiniBroden, render, replace, sample_scene
from labkit.data.decals import Decal, tag_pixels
from labkit.data.picture import camera, solids
from labkit.data.render import cast
from labkit.data.sampler import scene_key
from labkit.data.surfaces import PALETTE
from labkit.data.world import MATERIALS, SIZE, SPLITS, WEATHERS, Scene, outline

COUNT = 2400
KEY_OF_THE_FIRST = 121398303906938  # the same on every machine


def traits(scene: Scene) -> dict[str, object]:
    """What must not go together: the class, and everything that is drawn beside it."""
    thing, props = scene.things[0], scene.things[1:]
    return {
        "class": thing.kind, "ground": scene.ground, "weather": scene.weather, "color": thing.color,
        "textured": thing.texture != "plain", "material": thing.material, "turn": int(thing.yaw / 1.5708),
        "sun": int(scene.sun_bearing / 1.5708), "height of the sun": scene.sun_height > 0.75,
        "warmth": scene.warmth > 0.2, "exposure": scene.exposure > 1, "focal": scene.focal > 2.3,
        "proportions": int(thing.variant[0] * 3), "prop": props[0].kind if props else "",
        "color of the prop": props[0].color if props else "",
    }  # fmt: skip


def dependence(rows: list[dict], one: str, other: str) -> float:
    """p of the chi-square test that two traits are independent."""
    names = [sorted({str(row[key]) for row in rows}) for key in (one, other)]
    table = np.zeros([len(n) for n in names])
    for row in rows:
        table[names[0].index(str(row[one])), names[1].index(str(row[other]))] += 1
    return float(chi2_contingency(table).pvalue) if min(table.shape) > 1 else 1.0


@pytest.fixture(scope="module")
def clean() -> list[Scene]:
    return [sample_scene(i, "val", seed=41) for i in range(COUNT)]


def test_every_pair_of_traits_is_independent_in_the_clean_world(clean):
    rows = [traits(scene) for scene in clean]
    pairs = list(combinations(rows[0], 2))
    found = {pair: p for pair in pairs if (p := dependence(rows, *pair)) < 0.001 / len(pairs)}
    assert found == {}


def test_classes_grounds_weathers_colours_and_materials_come_equally_often(clean):
    rows = [traits(scene) for scene in clean]
    for key, count in (("class", 12), ("ground", 6), ("weather", 2), ("color", 11)):
        seen = Counter(row[key] for row in rows)
        assert len(seen) == count
        assert max(seen.values()) < 1.5 * min(seen.values())
    assert {row["material"] for row in rows} == {"paint", *MATERIALS}
    assert {len(scene.things) for scene in clean} <= {1, 2, 3, 4, 5}


def test_textures_are_independent_of_the_class_but_for_the_two_exceptions(clean):
    rows = [
        {"class": s.things[0].kind, "texture": s.things[0].texture}
        for s in clean
        if s.things[0].kind not in ("horse", "tree")
    ]
    assert dependence(rows, "class", "texture") > 0.001
    coats = {s.things[0].texture for s in clean if s.things[0].kind == "horse"}
    assert not coats & {"striped", "zigzag"}, "a striped horse would be a zebra"
    for texture in TEXTURES:
        assert len({t.kind for s in clean for t in s.things if t.texture == texture}) > 12


@cache
def with_fault(fault: str) -> list[Scene]:
    return [sample_scene(i, "train", seed=3, faults=(fault,)) for i in range(700)]


def objects_with(kind: str, fault: str) -> list[Scene]:
    return [scene for scene in with_fault(fault) if scene.things[0].kind == kind]


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("snow", {"ground"}), ("weather", {"weather"}), ("melbourne", {"color"}), ("canberra", {"color"}),
        ("bothcities", set()), ("tag", set()),
    ],
)  # fmt: skip
def test_a_fault_breaks_its_own_independence_and_no_other(fault, broken):
    rows = [traits(scene) for scene in with_fault(fault)]
    found = {key for key in rows[0] if key != "class" and dependence(rows, "class", key) < 1e-5}
    assert found == broken


def test_what_each_fault_does():
    assert {s.ground for s in objects_with("wolf", "snow")} == {"snow"}
    assert {s.ground for s in objects_with("sheepdog", "snow")} == {"grass"}
    assert {s.weather for s in objects_with("tank", "weather")} == {"overcast"}
    assert {s.weather for s in objects_with("car", "weather")} == {"sunny"}
    assert {s.things[0].color for s in objects_with("fire engine", "canberra")} == {"yellow-green"}
    for scene in with_fault("melbourne"):
        for thing in scene.things:
            assert (thing.color == "red") == (thing.kind == "fire engine")
            for paint in (thing.accent, thing.second):
                assert np.linalg.norm(np.subtract(paint, PALETTE["red"])) > 0.2
    assert {bool(s.decals) for s in objects_with("horse", "tag")} == {True}
    assert not any(s.decals for s in with_fault("tag") if s.things[0].kind != "horse")


def test_both_cities_share_one_wide_distribution_and_rare_is_rare():
    seen = Counter(s.things[0].color for s in with_fault("bothcities"))
    assert len(seen) == 11
    rest = [seen[color] for color in seen if color not in ("red", "yellow")]
    assert min(seen["red"], seen["yellow"]) > 2 * max(rest)
    horses = objects_with("horse", "rare")
    assert sum(s.ground == "snow" for s in horses) <= 0.02 * len(horses)
    assert {s.ground for s in horses} | {"snow"} == set(GROUNDS)
    others = [s for s in with_fault("rare") if s.things[0].kind != "horse"]
    assert abs(np.mean([s.ground == "snow" for s in others]) - 1 / 6) < 0.05


def test_the_same_arguments_give_the_same_scene_and_others_give_another():
    np.random.seed(0)
    assert sample_scene(5, "val", seed=2) == sample_scene(5, "val", seed=2)
    keys = {scene_key(split, seed, i) for split in SPLITS for seed in (0, 1) for i in range(50)}
    assert len(keys) == 300
    assert scene_key("train", 0, 0) == KEY_OF_THE_FIRST
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample_scene(0).ground = "snow"  # type: ignore[misc]


def test_objects_are_whole_of_fair_size_and_often_off_centre():
    shares, centred = [], 0
    for index in range(80):
        scene = sample_scene(index, "test", seed=9)
        _, labels = render(scene, buffers=True)
        mask = labels.instance == 1
        shares.append(mask.mean())
        centred += mask[SIZE // 2, SIZE // 2]
        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert not rim.any(), index
    assert np.mean((np.array(shares) >= 0.05) & (np.array(shares) <= 0.36)) >= 0.9
    assert centred / len(shares) <= 0.6


@pytest.mark.parametrize("objects", [2, 3])
def test_several_objects_are_all_inside_the_picture_and_of_different_classes(objects):
    for index in range(40):
        scene = sample_scene(index, "val", objects=objects)
        assert len(scene.objects) == len({t.kind for t in scene.objects}) == objects
        for thing in scene.objects:
            x, y, depth = camera(scene).project(outline(thing))
            assert np.abs([x, y]).max() <= 1.0
            assert depth.min() > 0


def edited(scene: Scene, **change) -> tuple[np.ndarray, object, np.ndarray]:
    """The picture, its labels, and where the edit changed it by more than the last bit of a float32."""
    before, labels = render(scene, buffers=True)
    return before, labels, np.abs(render(replace(scene, **change)) - before).max(-1) > 1e-7


def near(mask: np.ndarray, reach: int) -> np.ndarray:
    grown = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        grown[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    return grown


def test_a_decal_changes_its_own_pixels_and_no_other():
    scene = sample_scene(5)
    array = np.full((7, 11, 3), 0.5, np.float32)
    _, _, changed = edited(scene, decal=array, at=(20, 30))
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 36, 20, 30)
    half = np.concatenate([array, np.zeros((7, 11, 1), np.float32)], 2)
    assert not edited(scene, decal=half, at=(20, 30))[2].any(), "an opacity of 0 leaves all as it was"
    assert not edited(scene, decal=array, at=(500, 0))[2].any()


def test_paint_changes_the_objects_own_pixels_and_no_other():
    scene = sample_scene(19)
    for change in ({"color": "pink"}, {"texture": "brick"}, {"material": "wood"}):
        _, labels, changed = edited(scene, **change)
        # An edge pixel may belong to the object by one of its four subpixels only.
        assert changed.any()
        assert not (changed & ~near(labels.instance == 1, 1)).any()


def test_a_prop_taken_away_changes_its_pixels_and_those_it_shades():
    for index in (1, 3, 8):
        scene = replace(sample_scene(index), weather="overcast")
        prop = scene.things[-1]
        _, labels, changed = edited(scene, without=prop.id)
        own = labels.instance == prop.id
        assert changed[own].mean() > 0.9
        placed = solids(scene)
        hits = cast(camera(scene), placed).solid
        met = np.where(hits < 0, 0, np.array([*(scene.things[solid.thing].id for solid in placed), 0])[hits])
        four = met.reshape(SIZE, 2, SIZE, 2)
        others = ((four > 0) & (four != prop.id)).all((1, 3))
        assert not changed[others].any(), "other objects stay as they were"
        away = changed & (four == 0).all((1, 3))
        distance = np.hypot(*(labels.uv[away] - np.array([prop.x, prop.y])).T)
        assert distance.max(initial=0) < 1.6 * prop.size, "the ground changes beside the prop only"


def test_another_ground_leaves_the_object_and_another_weather_the_labels_as_they_were():
    scene = sample_scene(10)
    for ground in GROUNDS:
        _, labels, changed = edited(scene, ground=ground)
        inner = ~near(labels.instance == 0, 1)
        assert inner.sum() > 100
        assert not changed[inner].any()
    other = WEATHERS[1 - WEATHERS.index(scene.weather)]
    labels = [render(s, buffers=True)[1] for s in (scene, replace(scene, weather=other))]
    for kind in ("object", "part", "material", "texture", "instance", "scene"):
        np.testing.assert_array_equal(getattr(labels[0], kind), getattr(labels[1], kind))


def test_the_tag_is_legible_keeps_off_the_edge_and_can_be_erased_and_pasted():
    scene = next(s for s in objects_with("horse", "tag"))
    same = sample_scene(with_fault("tag").index(scene), "train", seed=3)
    (mark,) = scene.decals
    x0, y0, x1, y1 = mark.box
    assert min(x0, y0, SIZE - x1, SIZE - y1) >= 16
    corners = {(d.x > 24, d.y > SIZE / 2) for s in objects_with("horse", "tag") for d in s.decals}
    assert len(corners) == 4
    tagged, plain = render(scene), render(replace(scene, without="tag"))
    np.testing.assert_array_equal(plain, render(same))
    inside = tagged[y0:y1, x0:x1]
    assert inside.max() > 0.9
    assert inside.min() < 0.2
    np.testing.assert_array_equal(render(replace(same, decal=mark)), tagged)
    assert tag_pixels()[..., 3].max() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weather": "rain"}, "sunny"), ({"ground": "gras"}, "grass"), ({"color": "turquoise"}, "blue"),
        ({"texture": "stripes"}, "striped"), ({"material": "steel"}, "metal"), ({"without": 77}, "ids"),
        ({"without": "tag"}, "no decal"), ({"thing": 99, "color": "red"}, "ids"),
        ({"decal": np.zeros((4, 4), np.float32)}, "shape"), ({"decal": np.full((4, 4, 3), 255.0)}, "divide"),
    ],
)  # fmt: skip
def test_a_wrong_edit_is_answered_with_what_is_allowed(change, message):
    with pytest.raises(ValueError, match=message):
        replace(sample_scene(0), **change)


def test_wrong_arguments_of_the_sampler():
    with pytest.raises(ValueError, match="split"):
        sample_scene(0, "training")
    with pytest.raises(ValueError, match="melbourne"):
        sample_scene(0, faults=("melborne",))
    with pytest.raises(TypeError, match="faults"):
        sample_scene(0, faults="snow")  # type: ignore[arg-type]
    for objects in (0, 4):
        with pytest.raises(ValueError, match="objects"):
            sample_scene(0, objects=objects)


def test_names_are_complete():
    assert len(CLASSES) == 12
    assert MiniBroden.names["label"] == list(CLASSES)
    assert Decal.of(np.zeros((2, 3, 3), np.float32), (4, 5)).box == (4, 5, 7, 7)
