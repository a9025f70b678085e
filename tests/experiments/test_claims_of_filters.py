"""The experiments on filters and on a generator's prior: what they measure, beside what, and their parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.data import MiniBroden
from labkit.experiments import filters, generator_prior
from labkit.experiments.bench import EXPERIMENTS
from labkit.models.generator import Generator

from .spy import assert_sound, controls, quick

DESCRIBED = "share of filters described (r2 > .8) minus that with phases shuffled"
NEAR = "distance to the nearest training scene, over a new scene's"
WANTED = {
    "V1": {
        DESCRIBED: (">= 0.2", ["twin", "blurred noise"]),
        f"{DESCRIBED}, the lowest of 1 networks": ("> 0", []),
    },
    "V8": {
        "named by the judge, over real pictures of 64 px": (
            ">= 0.6",
            ["untrained generator", "free pixels", NEAR],
        ),
        "named: DGN-AM minus the best of 3 random codes": (
            "> 0 (lower bound)",
            ["DGN-AM", "best of 3 codes", "untrained generator", "free pixels", "real"],
        ),
    },
}
SHOWN = {
    "V1": {"shares", "networks", "filters", "shuffled", "noise", "grids"},
    "V8": {"pictures", "labels", "hits"},
}
LABS = {"V1": "11_filters_and_activations", "V8": "13_what_excites_a_unit"}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert (result.id, set(result.show)) == (id, SHOWN[id])
    assert called == set(result.uses) == set()
    assert EXPERIMENTS[id].lab == LABS[id]


def test_planted_filters_are_described_and_their_shuffled_phases_are_not():
    rows, columns = torch.meshgrid(*[torch.arange(11.0) - 5] * 2, indexing="ij")
    bump = torch.exp(-(rows**2 + columns**2) / 9)
    edge, spot = bump * torch.sin(0.8 * columns + 0.3 * rows), torch.exp(-(rows**2 + columns**2) / 8)
    planted = torch.stack([torch.stack([edge, edge, edge]), torch.stack([spot, -spot, 0 * spot])])
    noise = torch.randn(2, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    edges, blobs = filters.described(torch.cat([planted, noise]))
    assert blobs.tolist() == [False, True, False, False]
    assert edges.tolist()[0]
    assert edges.tolist()[2:] == [False, False]
    found = filters._gain(planted, 3, 40)
    assert found.share == 1.0
    assert found.gain.value == pytest.approx(found.share - found.shuffled)


def test_noise_is_blurred_until_it_is_as_coarse_as_the_filters():
    white = torch.randn(20, 3, 11, 11, generator=torch.Generator().manual_seed(1))
    assert filters.blurred_noise(white, torch.Generator().manual_seed(2))[1] == 0
    slow = torch.sin(torch.arange(11.0) * 0.5).expand(20, 3, 11, 11)
    noise, blur = filters.blurred_noise(slow, torch.Generator().manual_seed(2))
    assert blur > 1
    assert filters._frequency(noise) < filters._frequency(white) / 2


def test_the_first_filters_are_those_of_the_first_convolution():
    net = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 5), nn.Conv2d(4, 2, 3))
    assert filters.first_filters(net).shape == (4, 3, 5, 5)


def test_a_bare_scene_is_its_first_object_in_plain_paint():
    data = MiniBroden(6, "val")
    for scene in map(data.scene, range(6)):
        alone = generator_prior.bare(scene)
        assert [thing.kind for thing in alone.things] == [scene.objects[0].kind]
        assert (alone.things[0].texture, alone.things[0].material) == ("plain", "paint")
        assert (alone.ground, alone.eye) == (scene.ground, scene.eye)
    assert generator_prior.halved([data.scene(0)]).shape == (1, 3, 64, 64)


def test_the_best_of_many_codes_is_the_one_the_model_likes_best():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        maker = Generator(12, noise=4, style=8, channels=(8, 4)).eval()

    class Bright(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

    found = generator_prior.best_of(
        Bright(), maker, torch.tensor([0, 1]), 40, torch.Generator().manual_seed(0)
    )
    assert found.shape == (2, 3, 8, 8)
    codes = maker.codes(torch.arange(12).repeat(3))
    with torch.no_grad():
        others = maker(codes).mean((1, 2, 3))
    assert found[0].mean() > others.mean() > found[1].mean()


def test_nearest_is_the_root_mean_square_to_the_closest():
    black, grey = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)
    assert torch.allclose(generator_prior.nearest(black, torch.cat([grey, grey + 0.3])), torch.tensor([0.5]))
