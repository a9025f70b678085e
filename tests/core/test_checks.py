"""Each message names the argument, what is allowed, what came, and the cure."""

import pytest
import torch

from labkit.core.checks import (
    check_channels,
    check_choice,
    check_class,
    check_feature_map,
    check_finite,
    check_fraction,
    check_images,
    check_index,
    check_maps,
    check_positive,
    check_share,
    check_weight,
    nearest,
)

GOOD = torch.full((2, 3, 8, 8), 0.5)


def test_legal_images_come_back_untouched():
    assert check_images(GOOD) is GOOD
    edge = torch.tensor([0.0, 1.0]).repeat(32).reshape(1, 1, 8, 8)
    assert check_images(edge) is edge


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (GOOD.numpy(), TypeError, "images must be a torch.Tensor of shape (N, C, H, W); got ndarray"),
        ((GOOD * 255).to(torch.uint8), TypeError, "got torch.uint8. Write images.float() / 255"),
        (GOOD[0], ValueError, "got (3, 8, 8). Add the batch axis: images[None]."),
        (GOOD[0, 0], ValueError, "got (8, 8). Check how it was stacked."),
        (GOOD[:0], ValueError, "images must hold at least one picture; got the empty shape (0, 3, 8, 8)"),
        (torch.where(GOOD > 0, torch.nan, GOOD), ValueError, "images must be finite; got NaN or infinity"),
        (GOOD / 0, ValueError, "images must be finite"),
        (GOOD + 0.6, ValueError, "images must lie within [0, 1]; got values from 1.1 to 1.1"),
        (GOOD * 255, ValueError, "images must lie within [0, 1]; got values from 128 to 128"),
        (GOOD - 1, ValueError, "Normalization belongs inside the model"),
    ],
)
def test_illegal_images_are_named(images, error, words):
    with pytest.raises(error) as raised:
        check_images(images)
    assert words in str(raised.value)


def test_the_argument_is_named_as_the_caller_named_it():
    with pytest.raises(TypeError, match="baseline must be a torch.Tensor"):
        check_images(3, "baseline")


@pytest.mark.parametrize(
    ("shape", "cure"),
    [((2, 1, 8, 8), "images.expand(-1, 3, -1, -1)"), ((2, 8, 8, 3), "images.permute(0, 3, 1, 2)")],
)
def test_channels_get_the_cure_that_fits(shape, cure):
    with pytest.raises(ValueError, match="images must have 3 channels") as raised:
        check_channels(torch.zeros(shape), 3)
    assert cure in str(raised.value)


@pytest.mark.parametrize("target", [-1, 12, 999])
def test_a_class_outside_the_model_is_refused(target):
    with pytest.raises(IndexError, match=f"target must be a class index from 0 to 11; got {target}"):
        check_class(target, 12)
    check_class(0, 12)
    check_class(11, 12)


def test_a_number_of_what_is_no_class_is_refused_in_its_own_words():
    with pytest.raises(IndexError) as raised:
        check_index("row", -1, 47, "rows in the grid")
    assert str(raised.value) == "row must be from 0 to 46; got -1. There are 47 rows in the grid."
    with pytest.raises(IndexError, match="picture must be from 0 to 0; got 1. There is only one."):
        check_index("picture", 1, 1, "pictures")
    check_index("row", 46, 47, "rows")


@pytest.mark.parametrize("value", [0, -3, 2.0, True, "4", None])
def test_a_count_must_be_a_positive_whole_number(value):
    with pytest.raises(ValueError, match="stride must be a whole number of at least 1"):
        check_positive("stride", value)
    check_positive("stride", 4)


def test_a_positive_real_may_have_decimals():
    check_positive("sigma", 0.5, integer=False)
    with pytest.raises(ValueError, match="sigma must be a number above 0; got 0.0"):
        check_positive("sigma", 0.0, integer=False)


@pytest.mark.parametrize("value", [-0.1, 1.1, 127, "grey", True, float("nan")])
def test_a_fraction_lies_from_0_to_1(value):
    with pytest.raises(ValueError, match="fill must be a number from 0 to 1"):
        check_fraction("fill", value)
    for legal in (0, 0.5, 1):
        check_fraction("fill", legal)


@pytest.mark.parametrize("value", [0, 0.0, 1.0, 2, -0.1, True, "half", float("nan")])
def test_a_share_lies_between_0_and_1(value):
    with pytest.raises(ValueError, match="area must be a number above 0 and below 1; got .* Write area=0.1."):
        check_share("area", value, "Write area=0.1.")
    check_share("area", 0.5, "")


@pytest.mark.parametrize("value", [-1, True, "much", float("nan"), float("inf")])
def test_a_weight_is_at_least_0(value):
    with pytest.raises(ValueError, match="tv_weight must be a number of at least 0; got .* 0 switches"):
        check_weight("tv_weight", value)
    for legal in (0, 2.5):
        check_weight("tv_weight", legal)


@pytest.mark.parametrize(("features", "got"), [(torch.zeros(2, 3), r"\(2, 3\)"), ((GOOD,), "tuple")])
def test_a_feature_map_has_four_axes(features, got):
    with pytest.raises(ValueError, match=rf"layer must give a feature map .*'fc' gives {got}. Name a layer"):
        check_feature_map(features, "fc")
    assert check_feature_map(GOOD, None) is GOOD


def test_maps_are_one_a_picture_and_finite():
    with pytest.raises(ValueError, match=r"one map a picture, shape \(2, 8, 8\); got \(2, 8, 4\)"):
        check_maps(GOOD[:, 0, :, :4], GOOD)
    for value in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="maps must be finite; got NaN or infinity. Look at torch"):
            check_maps(GOOD[:, 0] * value, GOOD)
        with pytest.raises(ValueError, match="first must be finite"):
            check_finite("first", GOOD * value)
    check_maps(GOOD[:, 0], GOOD)


def test_a_wrong_choice_is_answered_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"Did you mean 'val'\?"):
        check_choice("split", "vali", ["train", "val", "test"])
    with pytest.raises(ValueError, match="one of 20 known names; got 'layer_7'. The nearest are 'layer7'"):
        check_choice("layer", "layer_7", [f"layer{i}" for i in range(20)])


def test_nearest_never_comes_back_empty():
    assert nearest("qqqq", ["horse", "zebra"]) == ["horse", "zebra"]
