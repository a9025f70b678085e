"""What a public method is, as data: its function, options that make it cheap, its labels.

Each package fills a ``METHODS`` of its own; nothing here imports upward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_OF_THE_CALL = ("progress", "should_stop")  # how a call runs, not what it gives


def signature_of(result: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Decorate the plain form of a method, which hands all it is given to its ``_result`` form.

    Its arguments stand once, in the signature of ``result``; help and editors show them for both, but for
    ``progress`` and ``should_stop``, which are passed on and not shown. The function stays the one written.

    >>> def blur_result(image: list, *, sigma: float = 2.0, progress: Any = None) -> dict: ...
    >>> @signature_of(blur_result)
    ... def blur(*args: Any, **options: Any) -> list: ...
    >>> list(inspect.signature(blur).parameters)
    ['image', 'sigma']
    """

    def signed(function: Callable[..., T]) -> Callable[P, T]:
        theirs = inspect.signature(result)
        shown = [p for name, p in theirs.parameters.items() if name not in _OF_THE_CALL]
        given = inspect.signature(function).return_annotation
        vars(function)["__signature__"] = theirs.replace(parameters=shown, return_annotation=given)
        return function

    return signed


@dataclass(frozen=True)
class Method:
    """A method's function, options that make it cheap, and its labels: when (post hoc or intrinsic), for
    which models (specific or agnostic), about what (local or global)."""

    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    when: str = "post hoc"
    models: str = "specific"
    scope: str = "local"

    @property
    def labels(self) -> tuple[str, str, str]:
        """The three together, as a methods table shows them: ("post hoc", "agnostic", "local")."""
        return self.when, self.models, self.scope
