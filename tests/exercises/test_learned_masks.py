"""The references of notebook 23, held to answers known by hand and to the library's own methods."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attribution import rise
from labkit.attribution.extremal_perturbations import area_loss as library_area_loss
from labkit.attribution.rise import draw_grids, enlarge
from labkit.exercises import find
from labkit.grading import check
from labkit.optimize import total_variation


def reference(name):
    return find(f"attribution.{name}").reference


def test_two_masks_of_rise_by_hand():
    scores, masks = torch.tensor([0.9, 0.1]), torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])
    torch.testing.assert_close(reference("rise_map")(scores, masks, 0.5), torch.tensor([[1.0, 0.1]]))


def test_a_constant_score_gives_a_flat_map_at_that_score():
    masks = (torch.rand(20000, 4, 4, generator=torch.Generator().manual_seed(3)) < 0.3).double()
    flat = reference("rise_map")(torch.full((20000,), 0.7).double(), masks, 0.3)
    torch.testing.assert_close(flat, torch.full((4, 4), 0.7).double(), atol=0.02, rtol=0)


def test_no_case_is_blind_to_a_division_by_the_share_that_is_shut():
    exercise = find("attribution.rise_map")
    assert check(exercise.id, lambda s, m, p: exercise.reference(s, m, 1 - p)) == 0


def test_a_mask_keeps_the_size_of_its_cells_and_its_share():
    stripe = torch.zeros(5, 5).double()
    stripe[:, 2] = 1
    mask = reference("random_mask")(stripe, 8, 0, 0, 32)
    assert mask.shape == (32, 32)
    assert torch.equal(mask, mask[:1].expand(32, 32))
    assert float(mask[0].sum()) == 8.0  # one cell of eight pixels, soft at both sides
    assert mask[0].argmax() in (19, 20)
    moved = reference("random_mask")(stripe, 8, 3, 5, 32)
    assert torch.equal(moved[0, :27], mask[0, 5:])


def test_the_library_draws_the_same_masks_and_takes_the_same_mean():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 3)).eval()
    picture = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    found = rise(net, picture, 1, masks=30, cells=3, generator=torch.Generator().manual_seed(2))
    grids, shifts = draw_grids(30, 3, 0.5, (2, 2), torch.Generator().manual_seed(2))
    draw = reference("random_mask")
    pairs = zip(grids.float(), shifts.tolist(), strict=True)
    own = torch.stack([draw(grid, 2, down, right, 6) for grid, (down, right) in pairs])
    torch.testing.assert_close(own, enlarge(grids.float(), shifts, (6, 6)))
    with torch.no_grad():
        scores = net(picture * own[:, None]).softmax(1)[:, 1]
    torch.testing.assert_close(reference("rise_map")(scores, own, 0.5), found[0])


def test_a_blend_ends_in_both_pictures_and_halves_between():
    sharp, blurred = torch.full((3, 3, 1, 3), 0.8), torch.full((3, 3, 1, 3), 0.2)
    masks = torch.tensor([1.0, 0.0, 0.5]).expand(3, 1, 3)
    left = reference("blend")(sharp, masks, blurred)
    torch.testing.assert_close(left, torch.tensor([0.8, 0.2, 0.5]).expand(3, 3, 1, 3))


def test_the_price_of_a_corner_by_hand():
    mask = torch.tensor([[1.0, 0.5], [1.0, 1.0]])
    # 0.5 of a cell deleted; the steps: right .5 at the first cell, down .5 at the second
    cost = reference("mask_loss")(torch.tensor(2.0), mask, 0.1, 10.0, 3.0)
    assert float(cost) == pytest.approx(2.0 + 0.1 * 0.5 + 10 * 2 * 0.125)
    assert float(reference("mask_loss")(torch.tensor(2.0), torch.ones(3, 4), 1.0, 1.0, 3.0)) == 2.0


@pytest.mark.parametrize("beta", [2.0, 3.0])
def test_the_roughness_is_the_librarys_total_variation(beta):
    mask = torch.rand(6, 7, generator=torch.Generator().manual_seed(4)).double()
    rough = reference("mask_loss")(torch.tensor(0.0), mask, 0.0, 1.0, beta)
    torch.testing.assert_close(rough, total_variation(mask[None, None], beta).sum())


def test_a_mask_of_zeros_and_ones_at_the_area_costs_nothing_wherever_it_lies():
    mask = torch.zeros(4, 5)
    mask[1, 1:4] = 1
    mask[3, 0] = 1
    loss = reference("area_loss")
    assert float(loss(mask, 0.2)) == 0.0
    assert float(loss(mask, 0.3)) == pytest.approx(2 / 20)  # two cells are missing
    assert float(loss(torch.full((4, 5), 0.2), 0.2)) == pytest.approx(0.8 * 0.04 + 0.2 * 0.64)
    other = torch.rand(8, 5, generator=torch.Generator().manual_seed(5)).double()
    same = library_area_loss(other.flatten()[None], torch.tensor([0.2]))[0]
    torch.testing.assert_close(loss(other, 0.2), same)


def test_a_slice_from_minus_zero_is_seen_and_named(capsys):
    def loss(mask, area):
        values = mask.flatten().sort().values
        wanted = torch.zeros_like(values)
        wanted[-round(area * len(values)) :] = 1
        return ((values - wanted) ** 2).mean()

    exercise = find("attribution.area_loss")
    assert check(exercise.id, loss) < exercise.points
    assert "your slice [-0:] is the whole mask" in capsys.readouterr().out


def test_a_step_by_hand_and_two_ends():
    floor = torch.tensor([[1.0, 0.5], [0.5, -2.0]])
    mask = torch.tensor([[0.95, 0.5], [0.25, 0.1]])
    # slopes -0.1, 0, -0.5, 4.2: the last one is the steepest and runs against 0
    new = reference("mask_step")(mask, lambda m: ((m - floor) ** 2).sum(), 0.84)
    torch.testing.assert_close(new, torch.tensor([[0.97, 0.5], [0.35, 0.0]]))
    assert not new.requires_grad


def test_a_search_finds_the_one_cell_that_carries_the_score():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 2)).eval()
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].weight.view(2, 3, 6, 6)[1, :, :2, 4:] = 1.0
        net[1].bias.copy_(torch.tensor([0.0, -6.0]))
    image, blurred, start = torch.ones(1, 3, 6, 6), torch.zeros(1, 3, 6, 6), torch.full((3, 3), 0.5)
    mask, losses = reference("learn_mask")(net, image, blurred, 1, start, 0.01, 0.0, 60)
    assert len(losses) == 60
    assert losses[-1] < losses[0]
    assert mask[0, 2] < 0.1
    assert mask[2, 0] == 1


def other_mask_step(mask, loss, rate):
    own = mask.clone().requires_grad_(True)
    slopes = torch.autograd.grad(loss(own), [own])[0]
    with torch.no_grad():
        own -= rate * slopes / slopes.abs().amax()
    return own.detach().clip(0, 1)


def other_learn_mask(model, image, blurred, target, mask, area, smooth, steps):
    up = torch.nn.Upsample(size=image.shape[-2:], mode="bilinear")

    def loss(m):
        return other_mask_loss(
            torch.softmax(model(other_blend(image, up(m[None, None])[:, 0], blurred)), -1)[:, target].sum(),
            m, area, smooth, 3,
        )  # fmt: skip

    found = []
    for _ in range(steps):
        found.append(loss(mask).item())
        mask = other_mask_step(mask, loss, 0.1)
    return mask, found


def other_mask_loss(score, mask, area, smooth, beta):
    total = score + area * (mask.numel() - mask.sum())
    for r in range(mask.shape[0]):
        for c in range(mask.shape[1]):
            down = mask[r + 1, c] - mask[r, c] if r + 1 < mask.shape[0] else 0 * score
            right = mask[r, c + 1] - mask[r, c] if c + 1 < mask.shape[1] else 0 * score
            total = total + smooth * (down**2 + right**2) ** (beta / 2)
    return total


def other_area_loss(mask, area):
    values = torch.sort(mask.reshape(-1), descending=True).values
    ones = round(area * len(values))
    return (((values[:ones] - 1) ** 2).sum() + (values[ones:] ** 2).sum()) / len(values)


def other_blend(images, masks, blurred):
    return torch.lerp(blurred, images, masks.unsqueeze(1))


def other_rise_map(scores, masks, p):
    return torch.einsum("s,shw->hw", scores, masks) / p / masks.shape[0]


def other_random_mask(grid, cell, down, right, side):
    large = torch.nn.functional.interpolate(grid[None, None].float(), scale_factor=cell, mode="bilinear")
    return large[0, 0].roll((-down, -right), (0, 1))[:side, :side]


@pytest.mark.parametrize(
    "own",
    [
        other_mask_loss,
        other_area_loss,
        other_blend,
        other_rise_map,
        other_random_mask,
        other_mask_step,
        other_learn_mask,
    ],
)
def test_another_right_way_of_writing_it_gets_all_points(own):
    exercise = find("attribution." + own.__name__.removeprefix("other_"))
    assert check(exercise.id, own) == exercise.points
