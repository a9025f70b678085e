"""The scoreboard: rows that are the library's measures, that are kept, and a page that can be sorted."""

from __future__ import annotations

import copy
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from labkit.attribution import METHODS, saliency
from labkit.evaluation import Interval, deletion, energy_inside, insertion, pointing_hits
from labkit.ledger.scoreboard import (
    ABOUT,
    BASELINES,
    BUNDLED,
    LOW_IS_GOOD,
    MEASURES,
    METRICS,
    OPTIONS,
    SCENES,
    Row,
    World,
    measure,
    scoreboard,
    worlds,
)
from labkit.ledger.scoreboard_page import scoreboard_html
from labkit.ledger.scoreboard_rows import keep, rows_in
from labkit.ledger.scoreboard_worlds import ASKED, NETWORKS
from labkit.models import load_model


@pytest.fixture(scope="module")
def three() -> dict[str, World]:
    return {world.name: world for world in worlds(2)}


def test_each_world_shows_scenes_that_all_its_networks_name_rightly(three: dict[str, World]) -> None:
    assert set(three) == set(ABOUT) == set(MEASURES) == set(ASKED)
    for world in three.values():
        assert len(world.images) == 2
        assert world.masks.flatten(1).any(1).all()
        for model in (world.model, *world.controls):
            with torch.no_grad():
                assert (model(world.images).argmax(1) == world.targets).all()
    assert three["tag"].masks.float().mean() < 0.1
    assert [len(world.controls) for world in three.values()] == [0, 0, 3]
    assert [world.name for world in worlds(1, only=["tag"])] == ["tag"]


def test_a_scene_that_a_control_names_wrongly_is_left_out(monkeypatch) -> None:
    import labkit.ledger.scoreboard_worlds as module

    loaded = copy.deepcopy(load_model("minivgg-2"))
    with torch.no_grad():
        loaded.classifier.bias[loaded.classes.index("wolf")] -= 4.0  # now wrong on many a wolf
    monkeypatch.setattr(
        module, "load_model", lambda name: loaded if name == "minivgg-2" else load_model(name)
    )
    world = worlds(3, only=["snow"])[0]
    with torch.no_grad():
        assert (loaded(world.images).argmax(1) == world.targets).all()


def test_on_grass_is_the_same_scene_without_the_snow(three: dict[str, World]) -> None:
    world = three["snow"]
    moved = (world.without - world.images).abs().mean(1)
    assert moved[~world.masks].mean() > 10 * moved[world.masks].mean()  # the wolf stays
    with torch.no_grad():
        wolf = [world.model(x).softmax(1)[0, world.targets[0]] for x in (world.images, world.without)]
    assert wolf[0] > 0.5 > wolf[1]
    assert three["clean"].without is None


def test_a_row_is_what_the_library_measures(three: dict[str, World]) -> None:
    world = three["clean"]
    row = measure(world, "saliency", batch=1, show=False)
    maps = saliency(world.model, world.images, world.targets)
    assert row.values["pointing"].value == pointing_hits(maps, world.masks)[0].float().mean()
    share = world.masks.float().mean((1, 2))
    energy = float((energy_inside(maps, world.masks) / share).mean())
    assert row.values["energy"].value == pytest.approx(energy)
    auc = deletion(world.model, world.images, maps, world.targets, steps=16).auc
    assert row.values["deletion"].value == pytest.approx(float(auc.mean()), abs=1e-5)
    assert row.seconds > 0
    assert tuple(row.values) == MEASURES["clean"]


def test_each_world_has_measures_that_say_something_there(three: dict[str, World]) -> None:
    assert {metric for own in MEASURES.values() for metric in own} == set(METRICS)
    assert set(METRICS) > LOW_IS_GOOD
    assert not {"pointing", "off-centre", "energy", "box", "deletion"} & set(MEASURES["snow"])
    middle = three["tag"].masks.shape[1] // 2
    assert not three["tag"].masks[:, middle, middle].any()  # off-centre would be pointing once more
    row = measure(three["snow"], "the centre", show=False)
    assert tuple(row.values) == MEASURES["snow"]
    assert measure(three["clean"], "chance", show=False).values["box"].value <= 1


def test_what_has_not_seen_the_network_shows_no_shift(three: dict[str, World]) -> None:
    for name in BASELINES:
        assert measure(three["snow"], name, show=False).values["shift"] == (0.0, 0.0, 0.0)
    assert measure(three["snow"], "saliency", show=False).values["shift"].value != 0


def test_thaw_and_snowfall_exchange_snow_and_grass(three: dict[str, World]) -> None:
    world = three["snow"]
    found = measure(world, "grad_cam", show=False).values
    maps = METHODS["grad_cam"].function(world.model, world.images, world.targets)
    ways = [
        way(world.model, world.images, maps, world.targets, steps=16, fill=world.without).auc
        for way in (deletion, insertion)
    ]
    assert found["thaw"].value == pytest.approx(float(ways[0].mean()), abs=1e-5)
    assert found["snowfall"].value == pytest.approx(float(ways[1].mean()), abs=1e-5)
    assert found["gap"].value == pytest.approx(float((ways[1] - ways[0]).mean()), abs=1e-5)


class Sees(torch.nn.Module):
    """A network that a made-up method explains by ``share`` of its map on the left half."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 2)


def made_up(shares: tuple[float, ...]) -> World:
    left = torch.zeros(3, 8, 8, dtype=torch.bool)
    left[:, :, :4] = True
    own, *controls = (Sees(share).eval() for share in shares)
    images = torch.rand(3, 3, 8, 8)
    return World("snow", own, images, torch.zeros(3, dtype=torch.long), left, controls, images / 2)


def explained(model: Sees, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    maps = torch.full((len(images), 8, 8), (1 - model.share) / 32)
    maps[:, :, :4] = model.share / 32
    return maps if model.share else torch.zeros_like(maps)


@pytest.mark.parametrize(
    ("shares", "shift"),
    [
        ((0.5, 0.9, 0.8, 0.7), 20.0),  # against the honest one that differs least
        ((0.7, 0.9, 0.8, 0.6), -10.0),  # another seed goes further: nothing is shown
        ((0.7, 0.7, 0.9, 0.9), 0.0),
        ((0.0, 0.9, 0.8, 0.7), 0.0),  # an empty map has not moved
        ((0.5, 0.0, 0.8, 0.7), 0.0),
    ],
)
def test_the_shift_is_what_left_the_animal(shares, shift: float, monkeypatch) -> None:
    monkeypatch.setitem(BASELINES, "made up", explained)
    found = measure(made_up(shares), "made up", batch=2, show=False).values["shift"]
    assert tuple(found) == pytest.approx((shift, shift, shift), abs=1e-4)


def test_without_honest_networks_there_is_no_shift() -> None:
    assert measure(made_up((0.5,)), "chance", show=False).values["shift"] is None


def test_the_seconds_are_those_of_the_faulty_network_alone(monkeypatch) -> None:
    import time

    clock = [0.0]

    def slow(model: Sees, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        clock[0] += 3.0 if model.share == 0.5 else 100.0
        return explained(model, images, targets)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setitem(BASELINES, "slow", slow)
    assert measure(made_up((0.5, 0.9, 0.8, 0.7)), "slow", batch=3, show=False).seconds == 1.0


@pytest.mark.parametrize("bad", [0.5, 0.9])  # the network itself, and a control after it
def test_a_method_that_refuses_a_network_gets_a_row_that_says_so(bad, three, tmp_path, monkeypatch) -> None:
    import labkit.ledger.scoreboard as module

    def refuses(model: Sees, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if model.share == bad:
            raise ValueError("model must have <no> share.")
        return explained(model, images, targets)

    monkeypatch.setitem(BASELINES, "refuses", refuses)
    monkeypatch.setattr(module, "worlds", lambda scenes, only: [made_up((0.5, 0.9))] if only else [])
    kept = tmp_path / "rows.jsonl"
    rows = scoreboard(3, methods=["refuses", "chance"], only=["snow"], kept=kept)
    assert [row.method for row in rows] == ["refuses", "chance"]  # the batch goes on
    assert rows[0].refused == "model must have <no> share."
    assert rows[0].values == dict.fromkeys(MEASURES["snow"])
    assert rows[0].seconds is None
    assert rows[1].refused == ""
    assert rows[1].values["thaw"] is not None
    assert scoreboard(3, methods=["refuses", "chance"], only=["snow"], kept=kept) == rows  # as kept
    assert len(kept.read_text().splitlines()) == 2
    page = scoreboard_html(rows)
    assert page.count("not defined here") == 1
    assert 'title="model must have &lt;no&gt; share."' in page
    assert page.count('aria-label="not defined"') == len(MEASURES["snow"]) + 1


def test_a_row_rests_on_what_ran_for_it() -> None:
    assert set(NETWORKS) == {"minivgg", "minivgg-2", "minivgg-3", "minivgg-snow", "minivgg-tag"}
    row, plain = scoreboard(1, methods=["grad_cam", "the edges"], only=["snow"], bundled=None)
    assert set(row.rests["networks"]) == {"minivgg", "minivgg-2", "minivgg-3", "minivgg-snow"}
    measures = {"evaluation.deletion", "evaluation.energy_inside", "ledger.scoreboard", "ledger.worlds"}
    assert {"attribution.grad_cam", "data.render", *measures} <= set(row.rests["golden"])
    assert not {"attribution.cam", "attribution.rise", "evaluation.edge_map"} & set(row.rests["golden"])
    assert set(plain.rests["golden"]) >= {"evaluation.edge_map", *measures}
    assert "attribution.grad_cam" not in plain.rests["golden"]
    assert row.rests["code"] == plain.rests["code"] == {}, "give these a golden call"


def test_options_are_those_of_the_methods() -> None:
    import inspect

    for name, options in OPTIONS.items():
        assert set(options) <= set(inspect.signature(METHODS[name].function).parameters)


def test_rows_are_kept_as_they_come_and_not_measured_twice(tmp_path, monkeypatch) -> None:
    kept = tmp_path / "rows.jsonl"
    first = scoreboard(2, methods=["the centre"], only=["clean"], kept=kept)
    assert len(kept.read_text().splitlines()) == 1
    both = scoreboard(2, methods=["the edges", "the centre"], only=["clean"], kept=kept)
    assert [row.method for row in both] == ["the edges", "the centre"]
    assert both[1] == first[0]
    assert len(kept.read_text().splitlines()) == 2


def edited(path: Path, **changes: object) -> None:
    """Change what the rows of a file say."""
    lines = [json.loads(line) | changes for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_rows_that_ship_are_shown_at_once_and_a_line_cut_off_is_passed(tmp_path, monkeypatch) -> None:
    shipped = tmp_path / "shipped.jsonl"
    (row,) = scoreboard(2, methods=["the centre"], only=["clean"], kept=shipped, bundled=None)
    with shipped.open("a") as file:
        file.write('{"world": "clean", "met')
    monkeypatch.setattr("labkit.ledger.scoreboard.measure", lambda *_, **__: pytest.fail("measured again"))
    assert scoreboard(2, methods=["the centre"], only=["clean"], bundled=shipped) == [row]
    monkeypatch.setattr("labkit.ledger.scoreboard.SCENES", {"clean": 2, "tag": 3})
    assert scoreboard(methods=["the centre"], only=["clean"], bundled=shipped) == [row]
    assert row.stale == ()


STALE = {
    "another behaviour": (
        {"rests": {"golden": {"evaluation.centre_map": "0"}, "code": {}, "networks": {}}},
        "evaluation.centre_map behaves otherwise (its golden answer has moved)",
    ),
    "another network": (
        {"rests": {"golden": {}, "code": {}, "networks": {"minivgg": "0"}}},
        "the network minivgg is another one",
    ),
    "other options": ({"options": {"spread": 0.5}}, "it is asked with other options now"),
    "nobody knows": ({"rests": None}, "it was not kept what it rests on"),
}


@pytest.mark.parametrize("why", STALE)
def test_a_stale_row_is_shown_with_its_reason_and_measured_only_if_asked(why, tmp_path, monkeypatch) -> None:
    changes, reason = STALE[why]
    shipped, kept = tmp_path / "shipped.jsonl", tmp_path / "kept.jsonl"
    (row,) = scoreboard(2, methods=["the centre"], only=["clean"], kept=shipped, bundled=None)
    edited(shipped, **changes)
    given = {"methods": ["the centre"], "only": ["clean"], "bundled": shipped, "kept": kept}
    with monkeypatch.context() as patched:
        patched.setattr("labkit.ledger.scoreboard.measure", lambda *_, **__: pytest.fail("measured"))
        (shown,) = scoreboard(2, **given)
        assert shown.stale == (reason,)
        assert shown.values == row.values
        patched.setattr("labkit.ledger.scoreboard_rows.checkout", lambda: False)
        assert scoreboard(2, **given)[0].stale == ()  # an installed kit cannot tell
    page = scoreboard_html([shown])
    assert '<tr class="baseline stale">' in page
    assert html.escape(reason, quote=False).replace("'", "&#39;") in page
    (again,) = scoreboard(2, **given, fresh=True)
    assert again.stale == ()
    assert len(kept.read_text().splitlines()) == 1
    assert scoreboard(2, **given) == [again]  # the one that stands, not the one that ships


def test_a_row_takes_the_place_of_an_older_one(tmp_path) -> None:
    kept = tmp_path / "rows.jsonl"
    old, other, new = (
        Row("clean", name, dict.fromkeys(MEASURES["clean"]), seconds, 7)
        for name, seconds in (("cam", 1.0), ("rise", 2.0), ("cam", 3.0))
    )
    for row in (old, other, new, replace(new, scenes=8)):
        keep(kept, row)
    assert [(r.method, r.seconds, r.scenes) for r in rows_in(kept, judged=False)] == [
        ("cam", 3.0, 7), ("rise", 2.0, 7), ("cam", 3.0, 8)
    ]  # fmt: skip


def test_the_rows_that_ship_are_whole() -> None:
    """Each world's table, once; a row that is stale is shown so, and is no failure."""
    rows = rows_in(BUNDLED)
    assert {(r.world, r.method) for r in rows} == {(w, m) for w in ABOUT for m in (*METHODS, *BASELINES)}
    assert len(rows) == len(ABOUT) * (len(METHODS) + len(BASELINES))
    for row in rows:
        assert row.scenes == SCENES[row.world]
        assert row.rests["golden"]
        assert set(row.values) == set(MEASURES[row.world])


def test_mistakes_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="scenes must be"):
        scoreboard(0)
    with pytest.raises(ValueError, match="methods must be among saliency"):
        scoreboard(1, methods=["salience"])
    with pytest.raises(ValueError, match="only must be among clean, tag, snow; got mud"):
        scoreboard(1, only=["mud"])
    with pytest.raises(ValueError, match="scenes must be"):
        worlds(0)
    with pytest.raises(ValueError, match="rows must hold at least one row"):
        scoreboard_html([])


def rows(world: str = "clean") -> list[Row]:
    def row(method: str, value: float, seconds: float) -> Row:
        values = dict.fromkeys(MEASURES[world], Interval(value, value - 0.1, value + 0.1))
        return Row(world, method, values | ({"box": None} if world == "clean" else {}), seconds, 7)

    return [row("saliency", 0.5, 0.01), row("grad_cam", 0.7, 0.02), row(next(iter(BASELINES)), 0.9, 0.0)]


def test_the_page_names_the_best_method_and_no_baseline() -> None:
    page = scoreboard_html(rows())
    assert page.count("class=best") == 5  # one a column that is defined
    assert 'class=best data-v="0.70000"' in page
    assert 'class=best data-v="0.50000"' in page  # deletion, where low is good
    assert 'class=best data-v="0.90000"' not in page
    assert "7 scenes" in page
    assert "&ndash;</td>" in page  # what is not defined
    assert "http" not in page


def test_low_is_best_in_the_thaw_too() -> None:
    page = scoreboard_html(rows("snow"))
    assert page.count('class=best data-v="0.50000"') == 1
    assert page.count('class=best data-v="0.70000"') == 3


@pytest.mark.parametrize("shown", [["clean"], ["tag"], ["snow"], ["clean", "snow"], ["tag", "snow", "clean"]])
def test_each_world_has_its_own_columns_and_the_legend_names_what_is_shown(shown: list[str]) -> None:
    page = scoreboard_html([row for world in shown for row in rows(world)])
    tables = page.split("<table>")[1:]
    for world, table in zip(shown, tables, strict=True):
        heads = re.findall(r"<button>([\w-]+) [↑↓]</button>", table)
        assert heads == list(MEASURES[world])
        assert table.count("<col>") == len(heads) + 2
        assert len(re.findall("<td", table)) == 3 * (len(heads) + 1)
        assert html.escape(ASKED[world]) in page
    legend = re.findall(r"<p><b>([\w-]+)</b>", page)
    assert legend == [m for m in METRICS if any(m in MEASURES[world] for world in shown)]


def test_negative_numbers_and_large_ones_can_be_read() -> None:
    def one(value: float, low: float, high: float) -> str:
        return scoreboard_html([Row("snow", "saliency", {"shift": Interval(value, low, high)}, 0.1, 7)])

    assert "\N{MINUS SIGN}3.12 <small>\N{MINUS SIGN}4.96 to \N{MINUS SIGN}1.09</small>" in one(
        -3.12, -4.96, -1.09
    )
    assert "14.6 <small>13.7\N{EN DASH}15.7</small>" in one(14.6, 13.65, 15.69)
