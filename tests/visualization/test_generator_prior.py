"""DGN-AM: a linear generator and model by hand, the identity as plain ascent, both given back, bad calls."""

from __future__ import annotations

import pytest
import torch
from asking import given_back
from torch import Tensor, nn

from labkit.models import unit
from labkit.optimize import minimize
from labkit.visualization import dgn_am, dgn_am_result

SIDE = 4
SIZE = 3 * SIDE * SIDE


class Linear(nn.Module):
    """Codes (N, D) times a matrix, about grey: small codes give pictures in [0, 1]."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.code_size = len(matrix)

    def forward(self, codes: Tensor) -> Tensor:
        return (0.5 + codes @ self.matrix).view(-1, 3, SIDE, SIDE)


class Read(nn.Module):
    """One score a row of weights."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_linear_through_linear_ends_where_the_hand_says() -> None:
    """The score is w (A^T c) less weight |c|^2: the best code is A w / (2 weight)."""
    matrix, weight = 0.01 * normal(6, SIZE), normal(2, SIZE, seed=1)
    maker, net = Linear(matrix).eval(), Read(weight).eval()
    best = matrix @ weight[1] / (2 * 0.5)
    found = dgn_am_result(
        net, 1, maker, start=0.1 * normal(3, 6, seed=2), steps=800, rate=0.01, code_weight=0.5
    )
    assert torch.allclose(found.codes, best.expand(3, -1), atol=1e-3)
    assert torch.allclose(found.images, maker(found.codes), atol=1e-12)
    assert torch.allclose(found.activations, net(found.images)[:, 1], atol=1e-9)
    assert found.complete
    assert len(found.losses) == 800


def test_without_a_prior_the_code_goes_to_the_limit_on_the_side_of_the_gradient() -> None:
    matrix, weight = 0.01 * normal(6, SIZE), normal(2, SIZE, seed=1)
    found = dgn_am_result(
        Read(weight).eval(), 0, Linear(matrix).eval(), start=torch.zeros(1, 6).double(), steps=60,
        code_weight=0.0, limits=(-0.5, 0.25),
    )  # fmt: skip
    slope = matrix @ weight[0]
    assert torch.equal(found.codes[0], torch.where(slope > 0, 0.25, -0.5).double())


def test_the_identity_as_generator_is_plain_ascent() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double().eval()
    start = 0.5 + 0.1 * normal(2, 3, 6, 6)
    found = dgn_am_result(
        net, 2, nn.Identity().eval(), start=start, steps=25, rate=0.02, code_weight=0.0, limits=(0.0, 1.0)
    )
    plain = start.clone()
    minimize(
        [plain], lambda _: -net(plain)[:, 2].sum(), steps=25, rate=0.02, project=lambda _: plain.clamp_(0, 1)
    )
    assert torch.allclose(found.images, plain, atol=1e-9)
    assert (found.activations > found.before).all()


def test_a_class_for_each_code_and_a_unit() -> None:
    matrix, weight = 0.01 * normal(6, SIZE), normal(3, SIZE, seed=1)
    maker, net = Linear(matrix).eval(), Read(weight).eval()
    start = torch.zeros(2, 6).double()
    both = dgn_am(net, torch.tensor([0, 2]), maker, start=start, steps=10)
    for row, target in enumerate((0, 2)):
        assert torch.allclose(both[row], dgn_am(net, target, maker, start=start[:1], steps=10)[0])
    deep = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2)).double().eval()
    found = dgn_am_result(deep, unit("1", 3), maker, start=start, steps=20)
    assert (found.activations >= found.before).all()


def test_pictures_are_brought_to_the_side_the_model_takes_and_given_as_they_were_made() -> None:
    seen = []

    class Watch(Read):
        input_size = 8

        def forward(self, x: Tensor) -> Tensor:
            seen.append(tuple(x.shape[2:]))
            return super().forward(x)

    net, maker = Watch(normal(2, 192)).eval(), Linear(0.01 * normal(6, SIZE)).eval()
    assert dgn_am(net, 0, maker, start=torch.zeros(1, 6).double(), steps=2).shape == (1, 3, SIDE, SIDE)
    assert set(seen) == {(8, 8)}
    Watch.input_size = 99
    seen.clear()
    dgn_am(net, 0, maker, start=torch.zeros(1, 6).double(), steps=1, side=8)
    assert set(seen) == {(8, 8)}


def test_starts_are_drawn_from_the_generators_own_or_normal_codes() -> None:
    maker, net = Linear(0.01 * normal(6, SIZE)).eval(), Read(normal(2, SIZE)).eval()
    one = dgn_am_result(net, 0, maker, count=3, steps=1, rate=1e-12)
    again = dgn_am_result(net, 0, maker, count=3, steps=1, rate=1e-12)
    other = dgn_am_result(net, 0, maker, count=3, steps=1, rate=1e-12, draws=torch.Generator().manual_seed(1))
    assert one.codes.shape == (3, 6)
    assert torch.equal(one.codes, again.codes)
    assert not torch.allclose(one.codes, other.codes)
    maker.start_codes = lambda n, generator: torch.full((n, 6), 0.25)  # type: ignore[assignment]
    maker.code_range = (-0.1, 0.1)  # type: ignore[assignment]
    own = dgn_am_result(net, 0, maker, count=2, steps=1, rate=1e-12)
    assert torch.allclose(own.codes, torch.full((2, 6), 0.1).double())


def test_both_networks_and_the_codes_are_given_back() -> None:
    maker, net, start = Linear(0.01 * normal(6, SIZE)).eval(), Read(normal(2, SIZE)).eval(), normal(2, 6)
    with given_back(net, start), given_back(maker):
        dgn_am(net, 0, maker, start=start, steps=3)

    class Breaks(Linear):
        def forward(self, codes: Tensor) -> Tensor:
            raise ZeroDivisionError

    broken = Breaks(maker.matrix.detach()).eval()
    with given_back(net, start), given_back(broken), pytest.raises(ZeroDivisionError):
        dgn_am(net, 0, broken, start=start, steps=3)


def test_it_can_be_watched_and_stopped() -> None:
    maker, net, shares = Linear(0.01 * normal(6, SIZE)).eval(), Read(normal(2, SIZE)).eval(), []
    found = dgn_am_result(
        net,
        0,
        maker,
        start=normal(1, 6),
        steps=8,
        progress=shares.append,
        should_stop=lambda: len(shares) == 3,
    )
    assert shares == [1 / 8, 2 / 8, 3 / 8]
    assert not found.complete


class Fixed(nn.Module):
    """Gives the same, whatever the code."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, codes: Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"generator": torch.Generator()}, TypeError, "from codes to pictures; got Generator.*draws="),
        ({"generator": Fixed(1)}, ValueError, "it gives int"),
        ({"generator": Fixed(torch.rand(3, 3, 4, 4))}, ValueError, r"it gives \(3, 3, 4, 4\)"),
        ({"generator": Fixed(torch.full((2, 3, 4, 4), -1.0))}, ValueError, "from -1 to -1. Bring them"),
        ({"generator": Fixed(torch.rand(2, 3, 4, 4))}, ValueError, "no gradient reaches it"),
        ({"start": None}, ValueError, "start must be given"),
        (
            {"start": torch.zeros(2, 4).long()},
            ValueError,
            r"floating-point, N >= 1; got torch.int64 \(2, 4\)",
        ),
        ({"start": [1.0]}, ValueError, "got list"),
        ({"start": torch.full((1, 4), float("nan"))}, ValueError, "start must be finite"),
        ({"count": 0}, ValueError, "count must be"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"code_weight": -1.0}, ValueError, "code_weight must be"),
        ({"limits": (1.0, -1.0)}, ValueError, "the lower one first"),
        ({"side": 0}, ValueError, "side must be"),
        ({"target": 7}, IndexError, "0 to 1; got 7"),
    ],
)
def test_bad_calls_are_refused(options: dict, error: type, sentence: str) -> None:
    maker = nn.Sequential(nn.Linear(4, SIZE), nn.Sigmoid(), nn.Unflatten(1, (3, SIDE, SIDE)))
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 2)).eval()
    given = {"target": 0, "generator": maker, "start": torch.zeros(2, 4), "steps": 2} | options
    if isinstance(given["generator"], nn.Module):
        given["generator"].eval()
    with pytest.raises(error, match=sentence):
        dgn_am(net, given.pop("target"), given.pop("generator"), **given)


def test_training_mode_is_refused_in_both() -> None:
    maker, net = Linear(0.01 * normal(6, SIZE)), Read(normal(2, SIZE))
    with pytest.raises(RuntimeError, match="training mode|eval mode"):
        dgn_am(net.eval(), 0, maker.train(), start=normal(1, 6), steps=1)
    with pytest.raises(RuntimeError, match="training mode|eval mode"):
        dgn_am(net.train(), 0, maker.eval(), start=normal(1, 6), steps=1)
