"""The exported page: one file with text, state and answers, which asks neither a kernel nor a network."""

from __future__ import annotations

import base64
import html
import json
import re
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["html_page", "module", "packed", "text_of"]

SCRIPTS = ("kit/paint.js", "kit/controls.js", "kit/curve.js", "kit/frame.js", "kit/view.js", "kit/search.js")


@cache
def text_of(name: str) -> str:
    """The text of a file of labkit.widgets, as "occlusion.js" or "kit/kit.css"."""
    return files("labkit.widgets").joinpath(*name.split("/")).read_text("utf-8")


@cache
def module(name: str) -> str:
    """The whole ES module of an explorer: colour tables, the kit's scripts, then its own file.

    >>> module("occlusion.js").count("export default")
    1
    """
    from matplotlib import colormaps

    tables = []
    for table, colours, steps in [("DIVERGING", "RdBu_r", 255), ("SEQUENTIAL", "viridis", 256)]:
        rgb = (colormaps[colours](np.linspace(0, 1, steps))[:, :3] * 255).round().astype(np.uint8)
        tables.append(f'const {table}_TABLE = "{base64.b64encode(rgb.tobytes()).decode()}";')
    return "\n".join([*tables, *map(text_of, SCRIPTS), text_of(name)])


def packed(value: Any) -> Any:
    """JSON stand-in of a trait value: bytes as base64, arrays of numbers as float16 times a ``scale``.

    >>> packed({"data": b"ab"})
    {'data': {'base64': 'YWI='}}
    """
    if isinstance(value, dict):
        if value.get("dtype") == "f4":
            values = np.frombuffer(value["data"], np.float32)
            top = float(np.abs(values).max(initial=0))
            legal = top == 0 or 0.01 <= top < 6e4  # else float16 would lose what is small, or overflow
            scale = 1.0 if legal else 2.0 ** np.floor(np.log2(top))
            half = (values / np.float32(scale)).astype(np.float16).tobytes()
            value = value | {"dtype": "f2", "data": half, "scale": float(scale)}
        return {key: packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return value


def html_page(
    title: str, script: str, style: str, state: dict[str, Any], answers: Iterable[Any], limit_mb: float
) -> str:
    """The page. ``answers`` go into it in their order until ``limit_mb`` would be passed; that some are left
    out is said on the page and in a UserWarning.

    ``title``: of the window; unless it is "labkit", also the heading, in place of the explorer's question.
    ``script``, ``style``: the explorer's module and CSS.
    ``state``: its traits.
    """
    state = packed(state | {"live": False, "heading": "" if title == "labkit" else title, "saved": []})
    room = limit_mb * 1e6 - len(json.dumps(state)) - len(script) - len(style)
    known = list(answers)
    for item in map(packed, known):
        room -= len(json.dumps(item))
        if room < 0:
            break
        state["saved"].append(item)
    state["left_out"] = left = len(known) - len(state["saved"])
    if left:
        warnings.warn(
            f"The page holds {len(known) - left} of the {len(known)} answers that were computed: more did "
            f"not fit into limit_mb={limit_mb:g}. Give it more, or compute fewer.", stacklevel=4,
        )  # fmt: skip
    parts = {
        "TITLE": html.escape(title),
        "CSS": style,
        "STATE": json.dumps(state).replace("<", "\\u003c"),
        "MODULE": script,
    }
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], text_of("kit/page.html"))
