"""The registry: what a public method is, as data; and one signature for both of a method's forms.

Each package fills a ``METHODS`` of its own; nothing here imports upward.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

from labkit.core.checks import nearest

_HOME = str(Path(__file__).resolve().parents[1])
# What a method is given -> the argument's name.
TAKES = {
    "model": "model",
    "pictures": "images",
    "many": "pictures",  # a data set, of which all is asked together
    "target": "target",
    "class": "target",
    "labels": "labels",
    "layer": "layer",
    "features": "features",
    "filters": "filters",
    "generator": "generator",  # a module that makes pictures of codes
    "maps": "maps",
    "game": "value",
    "players": "n_players",
    "side": "side",
    "count": "count",
    "vector": "vector",  # a direction in a layer
    "concept": "concept",  # pictures that show a thing, or their features
    "others": "others",
    "present": "present",  # the same scenes with and without a thing
    "absent": "absent",
    "names": "names",  # of label maps' values
    "space": "space",  # a vector a concept
    "terms": "plus",  # numbers of concepts
    "first": "first",  # distances between concepts
    "second": "second",
    "rows": "rows",  # what a student sees of each picture
    "answers": "answers",  # what a network says of each
    "one target": "target",  # for all pictures
    "box": "box",  # a network that only names classes
    "network": "network",  # what makes a new, untrained one
    "sources": "sources",  # networks by name
    "targets": "targets",
    "ratings": "first",  # of a rater, yes or no
    "other ratings": "second",
    "true labels": "labels",  # those that the network names: what is misread already stays
    "layer of a dream": "target",  # a layer's name, or any target
    "texture": "texture",  # one picture of it
    "layers": "layers",
    "content": "content",
    "style": "style",
    "style network": "network",  # one that was taught
    "views": "views",  # of a square that something carries
    "bank": "pictures",  # any number of them, about which together there is one answer
}
# What a network may lack: a head of global average pooling and one linear layer; a feature map (N, K, h, w);
# that ReLU alone bends its signal; that it takes pictures in colour.
NEEDS = ("gap", "space", "relu", "colour")

P = ParamSpec("P")
T = TypeVar("T")
_OF_THE_CALL = ("progress", "should_stop")  # how a call runs, not what it gives


def signature_of(result: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Decorate the plain form of a method, which hands all it is given to its ``_result`` form.

    Its arguments stand once, in the signature of ``result``; help and editors show them for both, but for
    ``progress`` and ``should_stop``, which are passed on and not shown. Arguments that do not fit are
    answered in the function's own name; they are looked at only where a call has failed.

    >>> def blur_result(image: list, *, sigma: float = 2.0, progress: Any = None) -> dict: ...
    >>> @signature_of(blur_result)
    ... def blur(*args: Any, **options: Any) -> list:
    ...     return blur_result(*args, **options)["image"]
    >>> list(inspect.signature(blur).parameters)
    ['image', 'sigma']
    >>> blur([1], sgma=3.0)
    Traceback (most recent call last):
    ...
    TypeError: blur knows no argument 'sgma'. The nearest: 'sigma'.
    """

    def signed(function: Callable[..., T]) -> Callable[P, T]:
        theirs = inspect.signature(result)
        shown = [p for name, p in theirs.parameters.items() if name not in _OF_THE_CALL]
        given = inspect.signature(function).return_annotation
        ours = theirs.replace(parameters=shown, return_annotation=given)
        misfit = _misfit  # held by the function itself, whose globals are those of another file

        def called(*args: Any, **options: Any) -> T:
            try:
                return function(*args, **options)
            except TypeError:
                told = misfit(function.__name__, theirs, ours, args, options)
                if told is None:
                    raise
            raise told

        # of the file in which the function is written: there doctest and ``Method.result`` look
        plain: Any = FunctionType(called.__code__, function.__globals__, closure=called.__closure__)
        update_wrapper(plain, function)
        plain.__signature__ = ours
        return plain

    return signed


def _misfit(
    name: str, theirs: inspect.Signature, ours: inspect.Signature, args: tuple, options: Mapping[str, Any]
) -> TypeError | None:
    """What to say where arguments do not fit; None where they do, so that the error was another one."""
    try:
        theirs.bind(*args, **options)
    except TypeError as error:
        known = ours.parameters
        by_place = [n for n, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        needed = [n for n, p in known.items() if p.default is p.empty and n not in by_place[: len(args)]]
        lacking = [n for n in needed if n not in options]
        for given in options:
            if given not in theirs.parameters:
                free = [n for n in known if n not in by_place[: len(args)] and n not in options]
                close = ", ".join(map(repr, nearest(given, free)))
                return TypeError(f"{name} knows no argument {given!r}. The nearest: {close}.")
            if given in by_place[: len(args)]:
                return TypeError(f"{name} must be given {given!r} once; got it by place and by name.")
        if len(args) > len(by_place):
            count = f"{len(by_place)} argument{'s' * (len(by_place) != 1)}"
            return TypeError(
                f"{name} takes {count} by place, {', '.join(by_place)}; got {len(args)}. "
                "Give the others by name."
            )
        if lacking:
            call = ", ".join(n if n in by_place else f"{n}=..." for n in [*by_place[: len(args)], *needed])
            return TypeError(f"{name} lacks {', '.join(map(repr, lacking))}. Write {name}({call}).")
        return TypeError(f"{name}: {error}.")
    return None


def warn_caller(message: str) -> None:
    """Warn at the line outside the library that called it, however deep within the warning is told.

    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     warn_caller("mind the gap")
    >>> told[0].filename == __file__
    False
    """
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_filename.startswith(_HOME):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


@dataclass(frozen=True)
class Method:
    """A public method as data: a row of its package's ``METHODS``, or of ``TOOLS``, what stands beside them.

    ``function``: its plain form; ``result`` is the ``_result`` form.
    ``title``: the field's word for it, as headings show it; the first line of its file holds it.
    ``paper``: authors and year, as its docstring's source has them; "" for none.
    ``options``: what makes a call cheap: contract and golden answers call it so.
    ``takes``: what must be given, in order, from ``TAKES``; all else is an option.
    ``gives``: "maps", "pictures", "masks", "segments", "weights", "activations", "scores", "patches" (a row a
    unit), "points" (a row a picture), "rows" (their numbers), "number" or "network".
    ``needs``: what a network must have, from ``NEEDS``; another one is refused.
    ``dead``: on a network whose last feature map is off: a map of "zero", a method that "warns", or "any".
    ``amplifies``: whether rounding grows on the way, as in a search or by a sign.
    ``when``, ``models``, ``scope``: the three labels, see ``labels``.
    """

    function: Callable[..., Any]
    title: str
    paper: str
    options: Mapping[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ("model", "pictures", "target")
    gives: str = "maps"
    needs: tuple[str, ...] = ()
    dead: str = "zero"
    amplifies: bool = False
    when: str = "post hoc"
    models: str = "specific"
    scope: str = "local"

    @property
    def result(self) -> Callable[..., Any] | None:
        """The form that returns all it found, beside the function under its name and ``_result``."""
        return self.function.__globals__.get(f"{self.function.__name__}_result")

    @property
    def deterministic(self) -> bool:
        """Whether nothing is drawn: it takes no generator."""
        return "generator" not in inspect.signature(self.function).parameters

    @property
    def labels(self) -> tuple[str, str, str]:
        """When (post hoc or intrinsic), for which models (specific or agnostic) and about what (local or
        global), as a methods table shows them: ("post hoc", "agnostic", "local")."""
        return self.when, self.models, self.scope


def rows(packages: Iterable[ModuleType]) -> dict[str, Method]:
    """All rows of some packages, by the package's own name and the method's: "attribution.saliency"."""
    return {
        f"{package.__name__.rpartition('.')[2]}.{name}": row
        for package in packages
        for table in (package.METHODS, getattr(package, "TOOLS", {}))
        for name, row in table.items()
    }
