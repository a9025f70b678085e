"""The plain form of a method: shown as its ``_result`` form is, and still a function that can be blocked."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from labkit.attribution import occlusion, occlusion_result
from labkit.calls.guard import WriteItYourself, blocked
from labkit.core.registry import signature_of


def blur_result(image: list, *, sigma: float = 2.0, progress: Any = None, should_stop: Any = None) -> dict:
    return {"image": image, "sigma": sigma, "progress": progress}


@signature_of(blur_result)
def blur(*args: Any, **options: Any) -> list:
    """A blur."""
    return blur_result(*args, **options)["image"]


def test_the_arguments_are_those_of_the_result_form_without_the_call_s_own() -> None:
    assert str(inspect.signature(blur)) == "(image: 'list', *, sigma: 'float' = 2.0) -> 'list'"
    theirs = inspect.signature(occlusion_result).parameters
    ours = inspect.signature(occlusion).parameters
    assert [*ours] == [name for name in theirs if name not in ("progress", "should_stop")]
    assert all(ours[name] == theirs[name] for name in ours)


def test_it_stays_a_function_of_its_own_name_and_place() -> None:
    assert blur([1], sigma=3.0) == [1]
    assert (blur.__name__, blur.__doc__, blur.__module__) == ("blur", "A blur.", __name__)
    assert pickle.loads(pickle.dumps(occlusion)) is occlusion
    assert blur.__globals__ is globals()  # doctest leaves out what comes from elsewhere
    assert "occlusion_result(*args, **options).map" in inspect.getsource(occlusion)


@pytest.mark.parametrize(
    ("args", "options", "told"),
    [
        (([1],), {"sgma": 3.0}, "blur knows no argument 'sgma'. The nearest: 'sigma'."),
        (([1], 3.0), {}, "blur takes 1 argument by place, image; got 2. Give the others by name."),
        (([1],), {"image": [2]}, "blur must be given 'image' once; got it by place and by name."),
        ((), {"sigma": 3.0}, "blur lacks 'image'. Write blur(image)."),
    ],
)
def test_arguments_that_do_not_fit_are_told_in_the_function_s_own_name(
    args: tuple, options: dict, told: str
) -> None:
    with pytest.raises(TypeError) as raised:
        blur(*args, **options)
    assert str(raised.value) == told
    assert raised.value.__context__ is None  # one traceback, not two


def test_an_error_from_within_stays_as_it_is() -> None:
    with pytest.raises(TypeError, match="^images must be a torch.Tensor"):
        occlusion(None, None, 0)
    with pytest.raises(TypeError, match="^occlusion knows no argument 'windw'. The nearest: 'window'"):
        occlusion(None, None, 0, windw=3)
    assert blur([1], progress=print) == [1]


def test_both_forms_refuse_where_they_are_asked_for() -> None:
    with blocked(["labkit.attribution.occlusion"]):
        for function in (occlusion, occlusion_result):
            with pytest.raises(WriteItYourself, match="write this one yourself"):
                function(None, None, 0)
    with pytest.raises(TypeError, match="images must be"):
        occlusion(None, None, 0)
