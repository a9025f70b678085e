"""The optimization loop and what it is fed."""

from __future__ import annotations

import pytest
import torch

from labkit.optimize import Hold, blur_pyramid, gaussian_blur, minimize, shift, total_variation


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.2), ("sgd", 0.1), ("lbfgs", 1.0)])
def test_a_parabola_is_descended_and_nothing_else_is_touched(optimizer: str, rate: float) -> None:
    x, other = torch.tensor([3.0, -2.0]), torch.ones(2, requires_grad=True)
    done = minimize([x], lambda _: ((x - other) ** 2).sum(), steps=150, rate=rate, optimizer=optimizer)
    assert torch.allclose(x, torch.ones(2), atol=1e-2)
    assert other.grad is None
    assert x.grad is None
    assert not x.requires_grad
    assert done.complete
    assert done.losses[-1] < 1e-3 < done.losses[0]


def test_what_is_projected_stays_where_it_was_put() -> None:
    x = torch.tensor([0.5])
    minimize([x], lambda _: x.sum(), steps=50, rate=0.1, project=lambda _: x.clamp_(min=0.2))
    assert float(x) == pytest.approx(0.2)


def test_bad_searches_are_refused() -> None:
    x = torch.tensor([1.0])
    with pytest.raises(ValueError, match="steps must be"):
        minimize([x], lambda _: x.sum(), steps=0, rate=1.0)
    with pytest.raises(ValueError, match="optimizer must be one of"):
        minimize([x], lambda _: x.sum(), steps=1, rate=1.0, optimizer="newton")
    with pytest.raises(ValueError, match="loss must be finite; it is nan at step 0"):
        minimize([x], lambda _: x.sum() * float("nan"), steps=1, rate=1.0)
    other = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="loss must depend"):
        minimize([x], lambda _: other.sum(), steps=1, rate=1.0)
    assert not x.requires_grad


def reached(**options) -> list[float]:
    """Where plain gradient descent on a slope of 1 stands after each step: the sum of the rates."""
    x, seen = torch.tensor([0.0]), []
    minimize(
        [x],
        lambda _: -x.sum(),
        optimizer="sgd",
        project=lambda _: seen.append(float(x)),
        **{"rate": 0.1, **options},
    )
    return seen


def test_a_schedule_lets_the_rate_fall_to_zero() -> None:
    """With a constant slope every step of momentum .9 and dampening .9 is the whole rate."""
    assert reached(steps=4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert reached(steps=4, schedule="linear") == pytest.approx([0.1, 0.175, 0.225, 0.25])
    halves = [0.1 * v for v in (1, 1 + 0.5 * (1 + 2**-0.5), 1.5 + 0.5 * (1 + 2**-0.5), 2.0)]
    assert reached(steps=4, schedule="cosine") == pytest.approx([*halves[:3], 0.1 * 2.5])
    assert reached(steps=3, rate=lambda step: [0.1, 0.0, 0.3][step]) == pytest.approx([0.1, 0.1, 0.4])
    assert reached(steps=2, rate=lambda step: 0.2, schedule="linear") == pytest.approx([0.2, 0.3])


def test_a_constant_rate_is_what_it_was() -> None:
    def run(**options) -> torch.Tensor:
        x = torch.tensor([3.0, -1.0])
        return minimize([x], lambda _: (x**4).sum(), steps=30, **options).losses

    for optimizer in ("adam", "sgd", "lbfgs"):
        plain = run(rate=0.01, optimizer=optimizer)
        assert torch.equal(plain, run(rate=lambda step: 0.01, optimizer=optimizer))


@pytest.mark.parametrize("rate", [lambda step: -1.0, lambda step: float("nan"), lambda step: None])
def test_a_rate_that_is_none_is_refused(rate) -> None:
    x = torch.tensor([1.0])
    with pytest.raises(ValueError, match="rate must be a finite number of at least 0; at step 0 it is"):
        minimize([x], lambda _: x.sum(), steps=1, rate=rate)
    with pytest.raises(ValueError, match="rate must be a number above 0"):
        minimize([x], lambda _: x.sum(), steps=1, rate=0.0)
    with pytest.raises(ValueError, match="schedule must be one of 'linear', 'cosine'; got 'step'"):
        minimize([x], lambda _: x.sum(), steps=1, rate=0.1, schedule="step")


def test_frames_show_the_search_while_it_runs() -> None:
    x, frames = torch.tensor([4.0]), []

    def show(step: int, loss: float) -> None:
        assert not torch.is_grad_enabled()
        frames.append((step, round(loss, 4), round(float(x), 4)))

    done = minimize([x], lambda _: x.sum(), steps=8, rate=1.0, optimizer="sgd", on_frame=show, every=3)
    assert frames == [(0, 4.0, 3.0), (3, 1.0, 0.0), (6, -2.0, -3.0), (7, -3.0, -4.0)]
    assert done.held is None
    with pytest.raises(ValueError, match="every must be a whole number"):
        minimize([x], lambda _: x.sum(), steps=1, rate=1.0, on_frame=show, every=0)


W = torch.tensor([1.0, 2.0, -1.0])
GOALS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.5, 0.5]])  # scores 5, 0, 1.5


def nearest_in_band(low: float, high: float) -> torch.Tensor:
    score = GOALS @ W
    return GOALS + ((score.clamp(low, high) - score) / (W @ W))[:, None] * W


@pytest.mark.parametrize(("optimizer", "low", "high"), [("sgd", 1, 2), ("adam", 1, 2), ("sgd", 1.7, 1.7)])
def test_a_held_score_ends_at_the_nearest_point_of_the_band(optimizer: str, low: float, high: float) -> None:
    """One picture is held from above, one from below, one is within and must not be touched."""
    x, seen = torch.zeros(3, 3), []

    def loss(step: int) -> torch.Tensor:
        seen.append((x.detach() @ W).clone())
        return ((x - GOALS) ** 2).sum()

    hold = Hold(lambda step: x @ W, low, high, most=10.0)
    done = minimize([x], loss, steps=300, rate=0.05, optimizer=optimizer, schedule="linear", hold=hold)
    assert torch.allclose(x, nearest_in_band(low, high), atol=0.02)
    assert torch.allclose(done.held, x @ W)
    held = torch.stack(seen[20:])
    assert ((held > low - 0.1) & (held < high + 0.1)).all()


def test_bands_of_their_own_and_a_score_that_the_loss_has_worked_out() -> None:
    x, kept = torch.zeros(3, 3), {}
    low = torch.tensor([-1.0, 0.5, 4.0])

    def loss(step: int) -> torch.Tensor:
        kept["score"] = x @ W
        return ((x - GOALS) ** 2).sum()

    hold = Hold(lambda step: kept["score"], low, low + 0.5, most=10.0)
    done = minimize([x], loss, steps=200, rate=0.05, optimizer="sgd", hold=hold)
    assert torch.allclose(done.held, torch.tensor([-0.5, 0.5, 4.0]), atol=1e-3)


def test_a_far_score_is_reached_in_short_steps_within_the_range() -> None:
    x = torch.full((1, 4), 0.5)
    w, seen = torch.tensor([10.0, 1.0, 0.0, -1.0]), [x.clone()]
    hold = Hold(lambda step: x @ w, 10.4, 20.0, most=0.01, within=(0.0, 1.0))

    def look(step: int) -> None:
        seen.append(x.clone())

    minimize([x], lambda _: (x * 0).sum(), steps=5, rate=0.1, optimizer="sgd", hold=hold, project=look)
    moved = torch.stack(seen).diff(dim=0).norm(dim=2) / 2  # the root mean square of four values
    assert moved.max() <= 0.01 + 1e-6
    assert x[0, 2] == 0.5
    hold = hold._replace(most=5.0)
    done = minimize([x], lambda _: (x * 0).sum(), steps=5, rate=0.1, optimizer="sgd", hold=hold)
    assert 0 <= x.min() <= x.max() <= 1
    assert done.held.item() == pytest.approx(10.4, abs=2e-2)


def test_what_a_projection_takes_from_the_score_is_given_back_at_the_end() -> None:
    x = torch.ones(2, 3)
    hold = Hold(lambda step: x @ W, 1.0, 1.5)
    done = minimize(
        [x], lambda _: ((x - 1) ** 2).sum(), steps=3, rate=0.01, hold=hold, project=lambda _: x.mul_(0.3)
    )
    assert torch.allclose(done.held, torch.ones(2), atol=1e-4)


def test_restoring_again_holds_a_score_through_long_steps() -> None:
    def off(again: int) -> float:
        x, seen = torch.full((1, 3), 0.3), []
        hold = Hold(lambda step: x**2 @ W.abs(), 1.0, 1.0, most=1.0, again=again)
        minimize(
            [x], lambda _: -(x * W.flip(0)).sum(), steps=12, rate=0.3, hold=hold,
            project=lambda _: seen.append(float(x**2 @ W.abs())),
        )  # fmt: skip
        return max(abs(s - 1) for s in seen[4:])

    assert off(6) < 1e-2 < off(0)


def test_holds_that_cannot_be_are_refused() -> None:
    x = torch.zeros(2, 3)

    def run(hold: Hold, **options) -> None:
        minimize([x], lambda _: (x**2).sum(), steps=2, rate=0.1, **{"hold": hold, **options})

    good = Hold(lambda step: x.sum(1), 0.0, 1.0)
    for low, high in ((2.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(ValueError, match="hold must have low <= high, both finite"):
            run(good._replace(low=low, high=high))
    for score in (
        lambda step: x.sum(),
        lambda step: x,
        lambda step: x.sum(1) * float("nan"),
        lambda step: 3.0,
    ):
        with pytest.raises(ValueError, match="hold's score must give one finite number a picture"):
            run(good._replace(score=score))
    with pytest.raises(
        ValueError, match=r"variables with a row a picture, as many as scores \(3\); got \(2, 3\)"
    ):
        run(good._replace(score=lambda step: x.sum(0)))
    with pytest.raises(ValueError, match="hold's score must depend on the variables"):
        run(good._replace(score=lambda step: torch.zeros(2)))
    with pytest.raises(ValueError, match='must be "adam" or "sgd" where a score is held; got "lbfgs"'):
        run(good, optimizer="lbfgs")
    with pytest.raises(ValueError, match="most must be a number above 0"):
        run(good._replace(most=0.0))
    assert not x.requires_grad


def test_a_blur_keeps_the_mean_and_darkens_no_frame() -> None:
    from scipy.ndimage import gaussian_filter

    image = torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = gaussian_blur(image, 2.0)[0, 0].numpy()
    theirs = gaussian_filter(image[0, 0].numpy(), 2.0, mode="mirror", truncate=3.0)
    assert abs(ours - theirs).max() < 1e-9
    white = gaussian_blur(torch.ones(1, 3, 20, 20), 6.0)
    assert torch.allclose(white, torch.ones_like(white))


def test_a_pyramid_runs_from_the_strongest_blur_to_the_picture() -> None:
    image = torch.rand(1, 3, 32, 32)
    levels = blur_pyramid(image, 4.0, 5)
    assert torch.equal(levels[-1], image)
    assert torch.allclose(levels[0], gaussian_blur(image, 4.0))
    contrast = levels.std((1, 2, 3, 4))
    assert (contrast[1:] > contrast[:-1]).all()


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[[[0.0, 3.0], [4.0, 3.0]]]])
    # top left: down 4, right 3; top right: down 0; bottom left: right -1
    assert float(total_variation(x)) == pytest.approx(25 + 0 + 1)
    assert float(total_variation(x, 1.0)) == pytest.approx(5 + 0 + 1, abs=1e-3)
    flat = torch.ones(1, 1, 3, 3, requires_grad=True)
    slope = torch.autograd.grad(total_variation(flat, 1.0).sum(), flat)[0]
    assert torch.isfinite(slope).all()


def test_a_shift_moves_every_picture_alike_and_reflects() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6).repeat(2, 1, 1, 1)
    moved = shift(images, 2, torch.Generator().manual_seed(3))
    assert torch.equal(moved[0], moved[1])
    assert set(moved.unique().tolist()) <= set(images.unique().tolist())
    assert torch.equal(shift(images, 0, torch.Generator()), images)


def test_a_blur_lets_every_slope_through_and_keeps_pictures_apart() -> None:
    flat = torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
    slope = torch.autograd.grad(gaussian_blur(flat, 1.5).sum(), flat)[0]
    assert (slope > 0.3).all()  # the corners are mirrored less
    images = torch.rand(2, 3, 16, 16)
    images[1] *= 0.1
    assert torch.allclose(gaussian_blur(images, 2.0)[1:], gaussian_blur(images[1:], 2.0))


def test_a_price_is_added_and_does_not_hide_a_loss_that_reaches_nothing() -> None:
    def run(loss) -> torch.Tensor:
        x = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
        minimize([x], loss(x), steps=20, rate=0.1)
        return x

    apart = run(lambda x: lambda _: ((x**4).sum(), (0.3 * x**2).sum()))
    assert torch.allclose(apart, run(lambda x: lambda _: (x**4).sum() + (0.3 * x**2).sum()))
    for cut in (lambda x: x.detach(), lambda x: x.argmax(1).float(), lambda x: torch.ones(2)):
        with pytest.raises(ValueError, match="no gradient reaches them"):
            run(lambda x, cut=cut: lambda _: (cut(x).sum(), (x**2).sum()))
    x = torch.zeros(2)
    with pytest.raises(ValueError, match="say it so"):
        minimize([x], lambda _: (torch.ones(()), x.sum()), steps=1, rate=0.1, refusal="say it so")
    assert not x.requires_grad


def test_rows_whose_loss_never_had_a_slope_are_told_and_those_that_wake_up_are_not() -> None:
    x = torch.tensor([[1.0], [1.0], [-0.15]])
    weights = torch.tensor([[1.0], [0.0], [1.0]])

    def loss(_: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (weights * x.relu()).sum(), -x.sum()  # the price lifts the third row above 0

    assert minimize([x], loss, steps=5, rate=0.1).alive.tolist() == [True, False, True]
    assert minimize([x], lambda _: (0 * x).sum(), steps=1, rate=0.1).alive.tolist() == [False] * 3
    both = [torch.ones(2), torch.ones(())]
    assert minimize(both, lambda _: both[1] * 2, steps=1, rate=0.1).alive.tolist() == [True]


def test_lbfgs_begins_anew_where_a_projection_moves_it():
    """A curvature measured before the clamp is not that after it: it was nan on a clamped texture."""
    goal = torch.tensor([2.0, 0.25, -1.0], dtype=torch.float64)
    turn = torch.tensor([[1.0, 0.5, 0.2], [0.0, 2.0, 0.3], [0.0, 0.0, 0.7]], dtype=torch.float64)
    x = torch.full((3,), 0.5, dtype=torch.float64)
    done = minimize(
        [x], lambda step: ((turn @ (x - goal)) ** 2).sum(), steps=8, rate=1.0, optimizer="lbfgs",
        project=lambda step: x.clamp_(0, 1),
    )  # fmt: skip
    assert done.memory["state"] == {}
    assert x.min() >= 0
    assert x.max() <= 1
