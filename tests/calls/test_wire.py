"""A value comes back from the wire as it went; what is malformed is refused."""

import pytest
import torch

from labkit.calls.exercise import Recipe
from labkit.calls.wire import decode, encode


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -(2**70), 2.5, float("inf"), "text", [1, [2]], (1, "a"), {"k": [None]}, {3: 4},
        torch.arange(6).reshape(2, 3), torch.tensor(1.5), torch.empty(0, 3), torch.ones(2, 3).T,
        torch.ones(2, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.bool),
    ],
)  # fmt: skip
def test_a_value_comes_back_as_it_went(value):
    back = decode(encode(value))
    if isinstance(value, torch.Tensor):
        assert back.dtype == value.dtype
        assert torch.equal(back, value)
    else:
        assert back == value
        assert type(back) is type(value)


def test_a_recipe_travels_as_data_and_is_built_at_the_other_end():
    weights = {"weight": torch.ones(1, 2), "bias": torch.ones(1)}
    recipe = Recipe("torch.nn:Linear", {"in_features": 2, "out_features": 1}, weights)
    built = decode(encode(recipe)).build()
    assert built(torch.ones(1, 2)).item() == 3
    assert not built.training


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 7, (10**6).to_bytes(8, "big") + b"{}", (2).to_bytes(8, "big") + b"[]",
        (31).to_bytes(8, "big") + b'{"a": ["float32", [99999], 16]}',
        (15).to_bytes(8, "big") + b'{"x": "unknown"}',
        (24).to_bytes(8, "big") + b'{"a": ["object", [1], 8]}'[:24],
    ],
)  # fmt: skip
def test_a_malformed_message_is_refused(data):
    with pytest.raises(ValueError, match="the message"):
        decode(data)


def test_a_worker_cannot_send_a_recipe():
    with pytest.raises(ValueError, match="unknown node 'r'"):
        decode(encode(Recipe("os:abort")), recipes=False)


def test_what_came_of_yield_or_of_async_is_told_its_cure():
    async def later():
        return 1

    with pytest.raises(TypeError, match=r"a generator cannot be sent.*write list\(\.\.\.\) around it"):
        encode(number for number in (1,))
    never = later()
    with pytest.raises(TypeError, match="a coroutine cannot be sent.*async def: write def"):
        encode(never)
    never.close()
