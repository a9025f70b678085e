"""What a public method is, as data: its function, options that make it cheap, its labels.

Each package fills a ``METHODS`` of its own; nothing here imports upward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


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
