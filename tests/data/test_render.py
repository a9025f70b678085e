"""The ray caster against brute force, light and labels against their laws, pixels against the stored."""

from __future__ import annotations

import dataclasses
import json
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labkit.data import CLASSES, GROUNDS, render, replace, sample_scene
from labkit.data import golden as gold
from labkit.data.picture import camera, solids
from labkit.data.surfaces import BASIC_COLORS, PALETTE, color_terms
from labkit.data.world import SIZE

engine = import_module("labkit.data.render")
KINDS = engine.KINDS
numbers = st.floats(-2.5, 2.5, width=32)


def inside(kind: str, p: np.ndarray, taper: float) -> np.ndarray:
    """Membership of points (..., 3) in a unit solid, straight from its definition."""
    x, y, z = np.moveaxis(p, -1, 0)
    slab = np.abs(z) <= 1
    return {
        "sphere": x**2 + y**2 + z**2 <= 1,
        "box": (np.abs(x) <= 1) & (np.abs(y) <= 1) & slab,
        "cylinder": (np.hypot(x, y) <= 1) & slab,
        "frustum": (np.hypot(x, y) <= 1 + (taper - 1) * (z + 1) / 2) & slab,
        "wedge": (np.abs(x) <= 1) & (np.abs(y) <= (1 - z) / 2) & slab,
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=120, derandomize=True)
@given(
    origin=st.tuples(numbers, numbers, numbers),
    aim=st.tuples(*[st.floats(-0.8, 0.8)] * 3),
    taper=st.floats(0, 0.9),
)
def test_ray_meets_solid_where_brute_force_says(kind, origin, aim, taper):
    o = np.array(origin) + np.array([0, 0.013, 4.1])
    d = np.array(aim) - o
    t = np.linspace(0, 2.5, 5001)
    hit = np.flatnonzero(inside(kind, o + t[:, None] * d, taper))
    with np.errstate(all="ignore"):
        enter, leave = engine._interval(kind, list(o), list(d), taper)
    if len(hit) > 8:
        assert enter == pytest.approx(t[hit[0]], abs=2e-3)
        assert leave == pytest.approx(t[hit[-1]], abs=2e-3)
    elif len(hit) == 0:
        assert not enter < leave - 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_normal_points_out_of_the_solid_and_has_length_one(kind):
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0] @ np.diag([0.7, 1.3, 0.9])
    primitive = engine.Primitive(
        kind, np.column_stack([turn, [0.3, 0.1, 0.4]]), "", engine.Paint("body"), taper=0.4
    )
    (solid,) = engine.place([primitive], np.eye(3, 4), 0)
    view = engine.look((-6, 0.4, 1.2), 0.0, -0.12, 2.2, 64)
    hits = engine.cast(view, [solid])
    seen = hits.solid == 0
    assert seen.sum() > 200
    with np.errstate(invalid="ignore"):
        met = view.eye + np.moveaxis(view.directions(), 0, -1) * hits.depth[..., None]
        across = np.cross(np.gradient(met, axis=0), np.gradient(met, axis=1))[seen]
    points = met[seen]
    _, normal = engine.surface(solid, points.astype(np.float32))
    whole = np.isfinite(across).all(1)
    cosine = (across * normal)[whole].sum(1) / np.linalg.norm(across[whole], axis=1)
    assert np.quantile(cosine, 0.3) > 0.98, "the normal is that of the surface through neighbouring hits"
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)

    def member(at):
        return inside(kind, at @ solid.to_unit[:, :3].T + solid.to_unit[:, 3], 0.4)

    assert member(points - 0.02 * normal).mean() > 0.97
    assert not member(points + 0.02 * normal).any()
    towards = (normal * (points - view.eye)).sum(1)
    assert (towards < 1e-3).mean() > 0.98, "a visible face looks at the camera, but for pixels on a rim"


def test_screen_boxes_lose_no_pixel(monkeypatch):
    for index in (0, 5, 18):
        scene = sample_scene(index)
        placed, view = solids(scene), camera(scene, 96)
        quick = engine.cast(view, placed)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_screen_boxes", lambda cam, all_: [[0, 0, cam.size, cam.size]] * len(all_))
            slow = engine.cast(view, placed)
        np.testing.assert_array_equal(quick.solid, slow.solid)
        np.testing.assert_array_equal(quick.depth, slow.depth)


def test_camera_projects_what_its_rays_meet():
    view = engine.look((1.0, -2.0, 1.5), 0.7, -0.3, 2.0, 32)
    points = view.eye + np.moveaxis(view.directions(), 0, -1).reshape(-1, 3) * 3.5
    x, y, depth = view.project(points)
    np.testing.assert_allclose(depth, 3.5, atol=1e-5)
    np.testing.assert_allclose(x.reshape(32, 32), np.broadcast_to(view.grid(), (32, 32)), atol=1e-5)
    np.testing.assert_allclose(y.reshape(32, 32), np.broadcast_to(-view.grid()[:, None], (32, 32)), atol=1e-5)


def test_nearest_solid_wins_and_what_lies_behind_the_camera_is_not_drawn():
    def ball(x):
        matrix = np.column_stack([np.eye(3) * 0.5, [x, 0, 0]])
        return engine.Primitive("sphere", matrix, "", engine.Paint("body"))

    view = engine.look((0, 0, 0), 0.0, 0.0, 1.5, 33)
    hits = engine.cast(view, engine.place([ball(6), ball(3), ball(-3)], np.eye(3, 4), 0))
    assert hits.solid[16, 16] == 1
    assert hits.depth[16, 16] == pytest.approx(2.5, abs=1e-3)
    assert not (hits.solid == 2).any()
    assert hits.solid[0, 0] == -1
    assert np.isinf(hits.depth[0, 0])


def test_shadow_falls_where_the_sun_says():
    matrix = np.column_stack([np.diag([0.5, 0.5, 0.1]), [0, 0, 1.0]])
    slab = engine.Primitive("box", matrix, "", engine.Paint("body"))
    sun = np.array([0.6, 0.0, 0.8])
    lamp = engine.sun_camera(sun, (0, 0, 0.3), 3.0, 256)
    depth = engine.cast(lamp, engine.place([slab], np.eye(3, 4), 0)).depth
    ground = np.array([[-0.75, 0, 0], [0.75, 0, 0], [-0.75, 1.0, 0], [90.0, 0, 0]], np.float32)
    np.testing.assert_allclose(engine.shade_fraction(lamp, depth, ground), [0, 1, 1, 1])


def test_drawing_is_deterministic_and_leaves_the_random_state_alone():
    scene = sample_scene(4)
    before = np.random.get_state()[1].copy()
    one, two = render(scene), render(scene)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert one.dtype == np.float32
    assert one.shape == (SIZE, SIZE, 3)
    assert one.min() >= 0
    assert one.max() <= 1


def test_buffers_agree_with_each_other():
    for index in (0, 18, 28):
        scene = sample_scene(index)
        shown, labels = render(scene, buffers=True)
        np.testing.assert_array_equal(shown, render(scene))
        thing = labels.instance > 0
        assert set(np.unique(labels.instance)) <= {0, *(t.id for t in scene.things)}
        np.testing.assert_array_equal(labels.object > 0, thing)
        assert not labels.part[~thing].any()
        assert (labels.object == CLASSES.index(scene.objects[0].kind) + 1)[labels.instance == 1].all()
        assert (labels.scene == GROUNDS.index(scene.ground) + 1).all()
        seen = np.isfinite(labels.depth)
        np.testing.assert_allclose(np.linalg.norm(labels.normal[seen], axis=-1), 1, atol=1e-4)
        assert labels.depth[thing].mean() < labels.depth[seen].max()
        np.testing.assert_array_equal(labels.color, color_terms(shown))
        assert labels.uv.shape == (SIZE, SIZE, 2)


def test_overcast_has_no_sun_shadow_but_a_contact_shadow():
    scene = dataclasses.replace(sample_scene(3), ground="snow", weather="overcast")
    bare = dataclasses.replace(scene, things=())
    for weather in ("overcast", "sunny"):
        full, labels = render(replace(scene, weather=weather), buffers=True)
        empty = render(replace(bare, weather=weather))
        darker = (empty - full).mean(-1)[labels.instance == 0]
        deep, any_ = (darker > 0.2).mean(), (darker > 0.02).mean()
        assert any_ > 0.01, "objects stand on the ground"
        assert (deep > 0.01) == (weather == "sunny")


@pytest.mark.parametrize("color", BASIC_COLORS)
def test_palette_colours_are_seen_as_what_they_are_called(color):
    patch = np.full((2, 2, 3), PALETTE[color], np.float32)
    assert BASIC_COLORS[color_terms(patch)[0, 0] - 1] == color


def test_ground_and_snow_are_not_washed_out():
    for ground in GROUNDS:
        for weather in ("sunny", "overcast"):
            scene = dataclasses.replace(sample_scene(2), things=(), ground=ground, weather=weather)
            shown, labels = render(scene, buffers=True)
            assert (shown[np.isfinite(labels.depth)] > 0.985).mean() < 0.02


def test_this_machine_draws_the_golden_scenes(record_property):
    verdict = gold.compare()
    record_property("golden", str(verdict))
    print(verdict)
    assert len(gold.scenes()) == 24
    assert verdict.fits, str(verdict)


def test_golden_tells_one_grey_level_from_another_world(monkeypatch):
    drawn = gold.draw()
    with Image.open(gold.FILE.with_suffix(".png")) as file:
        stored = np.asarray(file)
    up = np.where(stored < 255, stored + 1, stored).astype(np.uint8)
    changed = json.loads(json.dumps(drawn[0]))
    changed[0]["image"] = "other"
    monkeypatch.setattr(gold, "draw", lambda: (changed, up))
    verdict = gold.compare()
    assert (verdict.same, verdict.grey_levels, verdict.fits) == (False, 1, True)
    assert "within the tolerance" in str(verdict)
    monkeypatch.setattr(gold, "draw", lambda: (changed, np.roll(stored, 3, 1)))
    assert not gold.compare().fits
    assert "NOT the world" in str(gold.compare())
    changed[0]["counts"]["object"][0] -= 40
    changed[0]["counts"]["object"][1] += 40
    monkeypatch.setattr(gold, "draw", lambda: (changed, stored))
    assert not gold.compare().fits


def test_golden_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(gold, "RENDER_VERSION", 99)
    with pytest.raises(RuntimeError, match="render version 1"):
        gold.compare()
