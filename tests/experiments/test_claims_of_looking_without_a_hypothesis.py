"""The experiments of lab 34: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.concepts import concept_shares, similarity_map
from labkit.concepts.overlay import place_at
from labkit.data import MiniBroden
from labkit.exercises import find
from labkit.experiments import looking_without_a_hypothesis as lab
from labkit.experiments import overlay_demonstrations as show
from labkit.experiments.bench import EXPERIMENTS, Bench

from .spy import assert_sound, controls, quick, unwritten

WANTED = {
    "C10": {
        "hit share on part places, conv5 minus the best control, the seed that gains least": (
            ">= 0.08",
            [
                "conv5", "twin", "position", "mean colour", "raw patch",
                "another class, minus its best control", "whole picture, conv5", "whole picture, mean colour",
            ],
        )
    },
    "C11": {
        "fidelity where the network is wrong, a tree taught its answers minus one taught the truth, "
        "the network that gains least": (
            ">= 0.2 (lower bound)",
            [
                "shuffled concepts", "honest network, all scenes", "fooled networks, all scenes",
                "the tree as the model, accuracy",
            ],
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "34_looking_without_a_hypothesis"


def test_the_students_functions_are_the_library_s():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU()).eval()
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = find("concepts.cosine_overlay").reference(net(images), 1, (2, 4))
    assert torch.allclose(own, similarity_map(net, images, layer="1", picture=1, place=(2, 4)), atol=1e-6)
    for x, y in ((0, 0), (63.9, 31.9), (17, 30)):
        place = find("concepts.place_under").reference(x, y, (32, 64), (5, 9))
        assert place == place_at(x, y, (32, 64), (5, 9))
    maps = torch.randint(4, (2, 6, 6), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(find("concepts.concept_vector").reference(maps, 3), concept_shares(maps, 3))


def test_a_query_asks_for_a_part_that_the_other_picture_shows_among_others():
    seen = MiniBroden(40, "test").stack()
    for same in (True, False):
        asked = lab.queries(seen, same)
        assert len(asked.of) > 20
        labels = torch.as_tensor(seen.labels)
        assert bool(((labels[asked.of] == labels[asked.to]) == same).all())
        own = asked.parts[asked.of, asked.place[:, 0], asked.place[:, 1]]
        assert torch.equal(own, asked.part)
        assert bool((own > 0).all())
        for row, part in zip(asked.candidates, asked.part, strict=True):
            assert part in row
            assert len(set(row.tolist()) - {0}) > 1


def test_parts_are_those_of_the_object_at_the_middle_of_each_place():
    seen = MiniBroden(3, "test").stack()
    parts = lab.parts_of(seen)
    for n, i, j in [(0, 8, 8), (1, 10, 5), (2, 3, 12)]:
        y, x = 8 * i + 4, 8 * j + 4
        expected = seen.maps["part"][n, y, x] if seen.maps["instance"][n, y, x] == 1 else 0
        assert int(parts[n, i, j]) == expected


def test_a_perfect_overlay_hits_every_part_and_features_by_distance_find_their_like():
    seen = MiniBroden(30, "test").stack()
    asked = lab.queries(seen)
    one_hot = torch.nn.functional.one_hot(asked.parts, 64).permute(0, 3, 1, 2).double()
    overlay, hits = (find(f"concepts.{name}").reference for name in ("cosine_overlay", "part_hits"))
    for similarity in (lab.by_cosine(one_hot, asked, overlay), lab.by_distance(one_hot, asked)):
        assert bool(hits(similarity, asked.candidates, asked.part).all())


def test_a_table_has_no_objects_and_a_tree_on_it_is_recovered():
    seen = MiniBroden(40, "test").stack()
    given = lab.table(seen, concept_shares)
    assert given.rows.shape == (40, len(given.names))
    assert not any(name.startswith("object") for name in given.names)
    ground = [name.startswith("scene") for name in given.names]
    assert torch.allclose(given.rows[:, ground].sum(1), torch.ones(40))
    planted = (given.rows[:, given.names.index("color: red")] > 0.02).long()
    stand_in, fidelity = (find(f"concepts.{name}").reference for name in ("stand_in", "fidelity"))
    found = lab.fits(given._replace(labels=1 - planted), planted, stand_in, depth=3)
    assert float(fidelity(found.taught, found.network, found.wrong)) > 0.8
    gap = found.gap(fidelity, found.wrong)
    assert gap.low <= gap.value <= gap.high
    assert gap.value > 0.7


def test_demonstrations_take_students_functions_and_guests():
    bench = Bench("quick")
    shelf = show.gallery(bench, bench.network("minivgg"))
    assert shelf.names == ["fire engine 1", "fire engine 2", "bus", "zebra"]
    assert (shelf.size, shelf.grid, tuple(shelf.maps.shape)) == ((128, 128), (16, 16), (4, 128, 16, 16))
    item = MiniBroden(400, "test")
    scenes, pixel = show.four_scenes()
    assert [scene.objects[0].kind for scene in scenes] == list(show.KINDS)
    assert item.names["part"].index("wheel") > 0
    assert shelf.pixel == pixel
    taught = show.tree(bench, concept_vector=concept_shares, depth=2)
    assert 0 <= taught.fidelity <= 1
    assert len(taught.classes) == len(taught.tree.classes_)
    with pytest.raises(NotImplementedError):
        show.tree(bench, concept_vector=unwritten)
    result, _ = quick("C11")
    lines = show.ladder(result)
    assert {len(line) for line in lines.values()} == {len(lab.DEPTHS)}
    assert all(np.isfinite(line).all() for line in lines.values())
