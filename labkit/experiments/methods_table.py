"""Kinds of explanation: the table of all methods, made from the registry, and whether it is complete (C12).

python -m labkit.experiments.methods_table
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit.core.registry import Method, rows
from labkit.core.statistics import Interval, share
from labkit.experiments.bench import Bench, experiment
from labkit.experiments.measures import Measure, Result

__all__ = ["Kind", "c12", "kinds", "markdown", "packages"]

LAB = "35_the_detective"
PACKAGES = ("attribution", "visualization", "concepts", "adversarial", "style", "generative", "circuits")
ASKS = ("model", "pictures", "target")
CHEAP = {  # options with which a method that only asks is quick
    "occlusion": {"window": 64, "stride": 64},
    "rise": {"masks": 16},
    "lime": {"samples": 64},
    "kernel_shap": {"samples": 200},
}


class Kind(NamedTuple):
    """A method's row: its name, what it asks (a docstring's first sentence), the three labels, its paper."""

    name: str
    asks: str
    when: str
    models: str
    scope: str
    paper: str


class Sealed(nn.Module):
    """A network of which nothing is known but its answers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """The answers, through which no gradient goes."""
        with torch.no_grad():
            return self.inner(images).detach()


def packages() -> list[ModuleType]:
    """The packages of methods that are there."""
    return [import_module(f"labkit.{name}") for name in PACKAGES if find_spec(f"labkit.{name}")]


def kinds() -> list[Kind]:
    """The table, a row a public method, in the order of packages and names."""

    def of(name: str, row: Method) -> Kind:
        text = " ".join((inspect.getdoc(row.function) or "").split("\n\n")[0].split())
        return Kind(name, text, *row.labels, row.paper or "none")

    return [of(name, row) for name, row in sorted(rows(packages()).items())]


def markdown() -> str:
    """The table as text.

    >>> markdown().splitlines()[0]
    '| method | what it asks | when | models | scope | paper |'
    """
    lines = ["| method | what it asks | when | models | scope | paper |", "|---|---|---|---|---|---|"]
    lines += ["| `{}` | {} |".format(kind.name, " | ".join(kind[1:])) for kind in kinds()]
    return "\n".join(lines)


def public() -> set[str]:
    """The names of all public functions of the packages, a method's plain form for both."""
    return {
        f"{package.__name__.removeprefix('labkit.')}.{name}"
        for package in packages()
        for name in package.__all__
        if inspect.isfunction(getattr(package, name)) and not name.endswith("_result")
    }


@experiment("C12", LAB)
def c12(bench: Bench) -> Result:
    """Is the table of methods complete, and is "agnostic" true: do these work where no gradient goes?"""
    table = kinds()
    named, there = {kind.name for kind in table}, public()
    filled = [all(kind) for kind in table]
    sealed, seen = Sealed(bench.network("minivgg")), bench.firsts(1)
    answered: list[bool] = []
    for name, row in sorted(rows(packages()).items()):
        if row.models == "agnostic" and row.takes == ASKS and not (bench.quick and answered):
            options = {**row.options, **CHEAP.get(name.rpartition(".")[2], {})}
            maps = row.function(sealed, seen.images, seen.labels, **options)
            answered.append(bool(maps.isfinite().all() and maps.any()))
    both = share([name in named for name in there] + [name in there for name in named])
    return Result(
        (
            Measure("public methods in the table, and rows that are public methods", _exact(both), ">= 1"),
            Measure("rows with all labels, a sentence and a paper or none", _exact(share(filled)), ">= 1"),
            Measure(
                "methods called agnostic that answer where no gradient goes", _exact(share(answered)), ">= 1"
            ),
        ),
        notes=(f"{len(table)} methods",),
    )


def _exact(found: Interval) -> Interval:
    """A share of all there are: nothing was drawn, so there is no interval."""
    return Interval(found.value, found.value, found.value)


if __name__ == "__main__":
    print(markdown())
