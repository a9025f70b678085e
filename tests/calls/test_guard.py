"""labkit's own function refuses however it is reached, and nothing else does."""

import functools
import sys
import types

import pytest

from labkit.calls.guard import WriteItYourself, blocked


@pytest.fixture
def module(monkeypatch):
    """A module of the kit with the function, its twin, a decorated one, a closure and an innocent one."""

    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return function(*args)

        return inner

    made = types.ModuleType("labkit.madeup.gradient")
    made.wrap = wrap
    source = (
        "def saliency(x):\n    return x\n"
        "def saliency_result(x):\n    return x\n"
        "@wrap\ndef cam(x):\n    return x\n"
        "def innocent(x):\n    return x\n"
        "METHODS = {'saliency': saliency}\n"
    )
    exec(source, vars(made))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


NAMES = ["labkit.madeup.saliency", "labkit.madeup.cam"]


@pytest.mark.parametrize("name", ["saliency", "saliency_result", "cam"])
def test_inside_the_block_it_refuses_and_afterwards_it_works(module, name):
    function = getattr(module, name)
    with blocked(NAMES), pytest.raises(WriteItYourself, match="write this one yourself: labkit.madeup."):
        function(1)
    assert function(1) == 1


def test_tables_and_inner_functions_refuse_too(module):
    with blocked(NAMES):
        with pytest.raises(WriteItYourself):
            module.METHODS["saliency"](1)
        with pytest.raises(WriteItYourself):
            module.cam.__wrapped__(1)
        assert module.innocent(1) == 1


def test_a_function_of_that_name_elsewhere_is_left_alone(module):
    with blocked(["labkit.elsewhere.saliency", "labkit.made.saliency"]):
        assert module.saliency(1) == 1


def test_it_works_again_after_an_error(module):
    with pytest.raises(ZeroDivisionError), blocked(NAMES):
        raise ZeroDivisionError
    assert module.saliency(1) == 1
