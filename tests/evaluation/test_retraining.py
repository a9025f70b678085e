"""ROAR on pictures in which a single pixel tells the class: without it, the task is gone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.evaluation import control_maps, edge_map, remove, roar
from labkit.models.training import Recipe

QUICK = Recipe(epochs=6, batch=16, rate=0.05, flip=False, shift=0, light=0.0, noise=0.0)


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise of little contrast; the red of the middle pixel is the label."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.45 + 0.1 * torch.rand(n, 3, 5, 5, generator=generator)
    labels = torch.randint(0, 2, (n,), generator=generator)
    images[:, 0, 2, 2] = labels.float()
    return images, labels


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(75, 2))


def truth(images: Tensor) -> Tensor:
    maps = torch.zeros(len(images), 5, 5)
    maps[:, 2, 2] = 1
    return maps


def test_taking_away_the_cause_leaves_chance_and_all_else_leaves_the_task() -> None:
    images, labels = data(160, 0)
    test, test_labels = data(200, 1)
    state = torch.get_rng_state()
    done = roar(
        images, labels, test, test_labels,
        {"truth": truth(images), "against": -truth(images)}, {"truth": truth(test), "against": -truth(test)},
        network, fractions=(0.04, 0.5), seeds=(0, 1), recipe=QUICK,
    )  # fmt: skip
    assert torch.equal(state, torch.get_rng_state())
    assert done.fractions == (0.04, 0.5)
    assert done.whole.min() == 1
    assert done.accuracy["against"].min() == 1
    assert done.accuracy["truth"].max() < 0.62
    assert done.accuracy["truth"].shape == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_that_writes_into_its_input_leaves_the_test_pictures(dtype: torch.dtype) -> None:
    class Eats(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.sub_(0.5))

    images, labels = data(32, 0)
    test, test_labels = data(32, 1)
    before = test.clone()
    maps = {"truth": truth(images)}
    roar(
        images, labels, test, test_labels, maps, maps, lambda: nn.Sequential(Eats(), network()).to(dtype),
        fractions=(0.5,), seeds=(0,), recipe=QUICK._replace(epochs=1),
    )  # fmt: skip
    assert torch.equal(test, before)


def test_remove_takes_the_highest_share_and_puts_the_colour_there() -> None:
    images = torch.rand(2, 3, 4, 5)
    maps = torch.rand(2, 4, 5)
    fill = torch.tensor([0.1, 0.2, 0.3])
    gone = remove(images, maps, 0.25, fill)
    for picture, values, left in zip(images, maps, gone, strict=True):
        top = values >= values.flatten().topk(5).values[-1]
        assert torch.equal(left[:, ~top], picture[:, ~top])
        assert torch.equal(left[:, top], fill[:, None].expand(3, 5))
    assert torch.equal(remove(images, maps, 0.0, fill), images)
    assert remove(images, maps, 1.0, fill)[:, 0].unique().tolist() == pytest.approx([0.1])
    assert (remove(images, torch.zeros(2, 4, 5), 0.5, fill) == images).all(1).sum((1, 2)).tolist() == [10, 10]


def test_the_controls_know_nothing_of_a_network() -> None:
    images = torch.rand(2, 3, 32, 32)
    maps = control_maps(images)
    assert set(maps) == {"random", "blurred random", "sobel"}
    assert torch.equal(maps["sobel"], edge_map(images))
    rough = {name: (m[:, 1:] - m[:, :-1]).abs().mean() / m.std() for name, m in maps.items()}
    assert rough["blurred random"] < rough["random"] / 3


def test_mistakes_get_a_sentence() -> None:
    images, labels = data(16, 0)
    with pytest.raises(ValueError, match="maps and test_maps must hold the same names; got a and b"):
        roar(images, labels, images, labels, {"a": truth(images)}, {"b": truth(images)}, network)
    with pytest.raises(ValueError, match="maps must have one map a picture"):
        remove(images, torch.rand(16, 4, 5), 0.5, torch.zeros(3))
    with pytest.raises(ValueError, match="fraction must be a number from 0 to 1"):
        remove(images, truth(images), 1.5, torch.zeros(3))
