"""What differs is said in kind, and no kind is said of what it does not explain."""

import pytest
import torch

from labkit.checking.compare import near

REF = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rows(*right):
    out = REF + 1 + torch.arange(48.0).view(3, 4, 4)
    out[list(right)] = REF[list(right)]
    return out


@pytest.mark.parametrize(
    ("out", "word", "sentence"),
    [
        (-REF, "sign", "every value has the opposite sign"),
        (REF.abs(), "sign", "the size is right but some values have the wrong sign"),
        (REF * 3, "scale", "right up to one constant factor: all values are too large"),
        (REF / -3, "scale", "all values are too small, and the sign is turned"),
        (REF + 2, "values", "right up to one constant that is added everywhere"),
        (REF * 0 + 2, "values", "every value is the same, as if nothing depended on the input"),
        (REF**2, "values", "every value is the square of the right one"),
        (REF.transpose(1, 2), "values", "the axes 1 and 2 are exchanged"),
        (REF.flip(2), "values", "right, but in reverse order along axis 2"),
        (REF.roll(1, 1), "values", "right, but shifted by one along axis 1"),
        (REF.roll(-1, 2), "values", "right, but shifted by one along axis 2"),
        (REF.flip(0), "values", "right, but in reverse order along axis 0"),
        (rows(0), "values", "right at index 0 of axis 0, wrong at index 1, 2"),
        (
            REF / REF.abs().amax((1, 2), keepdim=True),
            "scale",
            "a factor of each one's own: is something divided",
        ),
        (REF.flatten()[torch.randperm(48)].view(3, 4, 4), "values", "right, but stand in another order"),
        (
            REF + torch.arange(48.0).view(3, 4, 4),
            "values",
            "98% of the values are not right, most of all at [2",
        ),
    ],
)
def test_each_kind_is_named(out, word, sentence):
    verdict = near(out, REF)
    assert verdict.word == word
    assert sentence in verdict.difference
    assert not any(f"{float(value):.3g}" in verdict.difference for value in REF.flatten())


def test_roots_are_told():
    assert "the root of the right one" in near(REF.abs().sqrt(), REF.abs()).difference


def test_what_came_and_what_was_expected_stands_beside():
    out = REF.clone()
    out[1, 2, 3] += 5
    verdict = near(out, REF)
    came, wanted = (f"{float(t[1, 2, 3]):.5g}" for t in (out, REF))
    assert verdict.shown == f"at [1, 2, 3] came {came}, expected {wanted}"
    assert near(torch.tensor(1.0), torch.tensor(2.0)).shown == "came 1, expected 2"
    assert near({"a": ["x"]}, {"a": ["y"]}).shown == "key 'a', part 1 of 1: came 'x', expected 'y'"


def test_parts_are_counted_from_one_as_people_do():
    one, two = torch.tensor(1.0), torch.tensor(2.0)
    assert near((one, two), (two, two)).difference == "part 1 of 2: the value is not right"
    assert near((two, one), (two, two)).shown == "part 2 of 2: came 1, expected 2"
    nested = near((two, (two, "x")), (two, (two, "y")))
    assert nested.difference.startswith("part 2 of 2, part 2 of 2: 'x'")


def test_values_and_indices_are_answered_by_values():
    said = near(REF.max(1), REF.amax(1)).difference
    assert said.endswith(".max(dim) gives values and indices: take .values")


def test_nan_and_infinity_come_first():
    out = REF.clone()
    out[0, 0, 0] = torch.nan
    verdict = near(out, REF)
    assert "1 of 48 values are NaN (a division by zero" in verdict.difference
    assert verdict.shown.startswith("at [0, 0, 0] came nan")


def test_a_list_for_a_tuple_is_right_and_its_parts_are_compared():
    import torch

    from labkit.checking.compare import near

    one, two = torch.ones(2), torch.zeros(3)
    assert near([one, two], (one, two)).passed
    assert near((one, two), [one, two]).passed
    assert near([one, one], (one, two)).word == "shape"
    assert near([one], (one, two)).word == "shape"
    assert near(torch.ones(2, 2), (one, one)).word == "type"
