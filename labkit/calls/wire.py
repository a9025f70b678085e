"""The wire format: a value as plain bytes and back, between the judge and a worker.

What crosses the line is JSON with raw array bytes behind it: no pickle, and nothing that is evaluated. A
message is an 8-byte length, the JSON, then the arrays one after the other.
"""

from __future__ import annotations

import json
import math
from typing import Any

from labkit.calls.exercise import Recipe

__all__ = ["encode", "decode"]

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
DEEPEST = 32
MOST_TEXT = 4 << 20  # bytes of JSON that a worker may send in a message


CURES = {
    "generator": "it came of yield, or of a comprehension in round brackets: write list(...) around it",
    "coroutine": "it came of async def: write def",
}


def _tree(value: Any, blobs: list[bytes], depth: int = 0) -> Any:
    import numpy as np
    import torch

    if depth > DEEPEST:
        raise TypeError(
            f"the value is nested more than {DEEPEST} levels deep; return arrays, not towers of lists."
        )
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"i": str(int(value))} if abs(value) > 2**53 else int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"f": repr(float(value))}
    if isinstance(value, (torch.Tensor, np.ndarray)):
        kind = "a" if isinstance(value, torch.Tensor) else "n"
        if isinstance(value, np.ndarray) and value.dtype.name not in DTYPES:
            raise TypeError(
                f"an array of dtype {value.dtype} cannot be sent; use one of {', '.join(DTYPES)}."
            )
        plain = torch.as_tensor(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        tensor = plain.detach().cpu()
        tensor = tensor.resolve_conj().contiguous() if tensor.layout == torch.strided else tensor.to_dense()
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise TypeError(f"a tensor of dtype {dtype} cannot be sent; use one of {', '.join(DTYPES)}.")
        flat = tensor.reshape(-1)
        blobs.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
        return {kind: [dtype, list(value.shape), len(blobs[-1])]}
    if isinstance(value, Recipe):
        return {"r": [value.factory, _tree(dict(value.kwargs), blobs, depth + 1),
                      _tree(dict(value.weights), blobs, depth + 1)]}  # fmt: skip
    if isinstance(value, (list, tuple)):
        return {"l" if isinstance(value, list) else "t": [_tree(item, blobs, depth + 1) for item in value]}
    if isinstance(value, dict):
        return {"d": [[_tree(k, blobs, depth + 1), _tree(v, blobs, depth + 1)] for k, v in value.items()]}
    cure = CURES.get(
        type(value).__name__, "use numbers, strings, tensors, and lists, tuples or dicts of them"
    )
    raise TypeError(f"a {type(value).__name__} cannot be sent between processes; {cure}.")


def encode(value: Any) -> bytes:
    """``value`` as plain bytes. Raises TypeError for what is neither data nor a `Recipe`.

    >>> decode(encode({"a": (1, 2.5, None)}))
    {'a': (1, 2.5, None)}
    """
    blobs: list[bytes] = []
    text = json.dumps(_tree(value, blobs)).encode()
    return len(text).to_bytes(8, "big") + text + b"".join(blobs)


def decode(data: bytes, recipes: bool = True) -> Any:
    """The value of `encode`'s bytes. Raises ValueError for anything malformed; never runs or evaluates it.

    What comes from a worker is read with ``recipes=False``: a recipe there is malformed.
    """
    import torch

    size = int.from_bytes(data[:8], "big")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError("the message is cut short")
    if not recipes and size > MOST_TEXT:  # a tree of Python objects takes forty times its text
        raise ValueError(f"the result holds more than {MOST_TEXT >> 20} MB beside its arrays; return tensors")
    position = 8 + size

    def leaf(kind: str, dtype: str, shape: list[int], length: int) -> Any:
        nonlocal position
        if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"the message holds an array of unknown kind {dtype!r}, {shape!r}")
        torch_dtype = getattr(torch, dtype)
        raw = data[position : position + length]
        position += length
        if len(raw) != length or length != math.prod(shape) * torch_dtype.itemsize:
            raise ValueError("the message holds an array whose shape does not fit its bytes")
        tensor = (
            torch.frombuffer(bytearray(raw), dtype=torch_dtype) if raw else torch.empty(0, dtype=torch_dtype)
        )
        tensor = tensor.reshape(shape)
        return tensor if kind == "a" else tensor.numpy()

    def grow(node: Any) -> Any:
        if not isinstance(node, dict):
            if isinstance(node, list):
                raise ValueError("the message holds a bare list")
            return node
        ((kind, body),) = node.items()
        if kind in "an":
            return leaf(kind, *body)
        if kind == "l":
            return [grow(item) for item in body]
        if kind == "t":
            return tuple(grow(item) for item in body)
        if kind == "d":
            return {grow(key): grow(item) for key, item in body}
        if kind == "r" and recipes:
            return Recipe(body[0], grow(body[1]), grow(body[2]))
        if kind == "i":
            return int(body)
        if kind == "f":
            return float(body)
        raise ValueError(f"the message holds an unknown node {kind!r}")

    try:
        return grow(json.loads(data[8 : 8 + size].decode()))
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError, RuntimeError) as error:
        raise ValueError(f"the message cannot be read: {error}") from None
