"""The exercises, a file or more for each notebook, found by their id.

``labkit/exercises/warm_up.py`` belongs to the notebook ``01_warm_up`` (the name without its number) and holds
``SHEET``, a `labkit.calls.form.Sheet` with its exercises in the notebook's order; what does not fit stands in
``warm_up_more.py``, a name that begins alike and says what is in it. Files come in the order of their names,
which is the notebook's. Importing this package imports none of them: the worker that runs students' code
builds its networks with ``labkit.calls.recipes`` and must not see the rest.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.calls.exercise import Exercise

__all__ = ["find", "all_exercises", "by_notebook", "notebooks"]


def _modules() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg)


def _load(module: str) -> tuple[str, tuple[Exercise, ...]]:
    loaded = importlib.import_module(f"{__name__}.{module}")
    return loaded.SHEET.notebook, tuple(loaded.SHEET.exercises)


def notebooks() -> dict[str, tuple[Exercise, ...]]:
    """Every notebook's name with its exercises, in the order of the course."""
    found: dict[str, tuple[Exercise, ...]] = {}
    for name, exercises in map(_load, _modules()):
        found[name] = found.get(name, ()) + exercises
    return dict(sorted(found.items()))


def all_exercises() -> list[Exercise]:
    """All exercises, in the order of the course."""
    return [exercise for exercises in notebooks().values() for exercise in exercises]


def by_notebook(name: str) -> tuple[Exercise, ...]:
    """The exercises of one notebook, by its name with or without number, folder and ``.ipynb``.

    Raises KeyError for a notebook that has none.
    """
    stem = re.split(r"[/\\]", name)[-1].removesuffix(".ipynb")
    module = re.sub(r"^\d+_", "", stem)
    if own := [m for m in _modules() if m == module or m.startswith(f"{module}_")]:
        return tuple(exercise for m in own for exercise in _load(m)[1])
    known = ", ".join(_modules()) or "none"
    raise KeyError(f"no exercises for the notebook {name!r}; there are some for {known}.")


def find(id: str) -> Exercise:
    """The exercise with this id, such as ``"attribution.saliency"``.

    Raises KeyError with the nearest known ids. Nothing beyond the modules needed is imported.
    """
    from labkit.core.checks import nearest

    first = str(id).partition(".")[0]
    known: list[str] = []
    for module in sorted(_modules(), key=lambda name: name != first):
        for exercise in _load(module)[1]:
            if exercise.id == id:
                return exercise
            known.append(exercise.id)
    close = " or ".join(repr(name) for name in nearest(str(id), known)) or "nothing (none are installed)"
    raise KeyError(f"no exercise has the id {id!r}. Did you mean {close}?")
