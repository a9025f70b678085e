"""Checking, grading and handing in: the judging process compares and scores, a worker only computes.

    from labkit.grading import check
    check("attribution.saliency", saliency)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import Any

__all__ = ["check", "Case", "Exercise", "Misconception", "Recipe", "Verdict"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = "labkit.checking.check" if name == "check" else "labkit.calls.exercise"
    return getattr(importlib.import_module(home), name)
