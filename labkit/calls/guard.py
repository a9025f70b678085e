"""The import guard: labkit's own version of what an exercise asks for says "write this one yourself".

The code of the function is replaced, not its name: every alias, table entry, partial and re-export refuses.
The function's ``_result`` twin refuses with it. A module that is imported or reloaded later is treated as
it finishes loading. Copying the source by hand is allowed by nature and is pointed out in the feedback
instead.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["WriteItYourself", "refuse_in", "Blocker", "blocked"]

HIDDEN = ("labkit.exercises", "labkit.checking", "labkit.grading")
STAND_IN = "labkit.grading"  # notebooks import ``check`` from it; a submission gets one that checks nothing


class WriteItYourself(RuntimeError):
    """Raised by labkit's own version of the function that an exercise asks for."""

    labkit_blocked = True


def _refusal(original: CodeType, name: str) -> CodeType:
    """Code that raises, in the place of ``original`` (same free variables, so that it fits the function)."""
    source = (
        "def refuse(*args, **kwargs):\n"
        "    from labkit.calls.guard import WriteItYourself\n"
        f"    raise WriteItYourself({f'write this one yourself: {name} is what is asked for'!r})\n"
    )
    if original.co_freevars:  # the replacement must close over the same names
        inner = "\n".join("    " + line for line in source.splitlines())
        free = ", ".join(original.co_freevars)
        inner = inner.replace("        raise", f"        if False: ({free},)\n        raise")
        source = f"def outer({free}):\n{inner}\n"
    code = compile(source, "<labkit>", "exec").co_consts[0]
    return next(c for c in code.co_consts if isinstance(c, CodeType)) if original.co_freevars else code


def _functions(module: ModuleType, names: Iterable[str]) -> Iterator[tuple[FunctionType, str]]:
    for dotted in names:
        package, _, name = dotted.rpartition(".")
        if module.__name__ != package and not module.__name__.startswith(package + "."):
            continue
        for twin in (name, f"{name}_result"):
            found = vars(module).get(twin)
            while found is not None:
                if isinstance(found, FunctionType):
                    yield found, dotted
                found = getattr(found, "__wrapped__", None)


def refuse_in(module: ModuleType, names: Iterable[str]) -> list[tuple[FunctionType, CodeType]]:
    """Make the named functions found in ``module`` refuse; gives back what undoes it."""
    undo = []
    for function, dotted in _functions(module, names):
        if function.__code__.co_filename != "<labkit>":
            undo.append((function, function.__code__))
            function.__code__ = _refusal(function.__code__, dotted)
    return undo


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any, names: Sequence[str]):
        self.inner, self.names = inner, names

    def create_module(self, spec: Any) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.inner.exec_module(module)
        refuse_in(module, self.names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _StandIn(importlib.abc.Loader):
    """Makes a package that holds ``check`` alone."""

    def create_module(self, spec: Any) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(check=lambda *args, **kwargs: 0.0, __all__=["check"])


class Blocker(importlib.abc.MetaPathFinder):
    """For a worker: the named functions refuse in every labkit module, and the exercises, what judges them
    and what grades cannot be imported. ``from labkit.grading import check`` gives a check that returns 0.0.
    """

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)

    def install(self) -> None:
        """Put it in front of the import system and treat what is loaded already."""
        sys.meta_path.insert(0, self)
        for name, module in list(sys.modules.copy().items()):
            if name.startswith("labkit") and isinstance(module, ModuleType):
                refuse_in(module, self.names)

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith("labkit"):
            return None
        if fullname == STAND_IN:
            return importlib.machinery.ModuleSpec(fullname, _StandIn(), is_package=True)
        if fullname.startswith(HIDDEN):
            raise WriteItYourself(f"{fullname} is not open to a submission: write this one yourself")
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and not isinstance(spec.loader, _Loader):
            spec.loader = _Loader(spec.loader, self.names)
        return spec


@contextmanager
def blocked(names: Iterable[str]) -> Iterator[None]:
    """For the student's own kernel: the named functions of the loaded labkit modules refuse inside the block.

    >>> from labkit.checking import compare
    >>> with blocked(["labkit.checking.near"]):
    ...     compare.near(1.0, 1.0)
    Traceback (most recent call last):
    ...
    labkit.calls.guard.WriteItYourself: write this one yourself: labkit.checking.near is what is asked for
    """
    undo: list[tuple[FunctionType, CodeType]] = []
    modules = [
        m for n, m in list(sys.modules.copy().items()) if n.startswith("labkit") and inspect.ismodule(m)
    ]
    try:
        for module in modules:
            undo += refuse_in(module, names)
        yield
    finally:
        for function, code in undo:
            function.__code__ = code
