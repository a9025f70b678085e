"""The registry is complete and true: every public method has a row, and what a row says holds."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import labkit
from labkit import attribution
from labkit.core.registry import NEEDS, TAKES, rows
from labkit.ledger.golden_calls import PACKAGES, packages

ROWS = rows(packages())
GIVES = ("maps", "pictures", "masks", "segments", "weights", "activations", "patches", "scores",
         "points", "rows", "number", "network")  # fmt: skip
README = (Path(labkit.__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def test_the_packages_of_methods_are_all_asked() -> None:
    folders = {path.parent.name for path in Path(labkit.__file__).parent.glob("*/__init__.py")}
    assert {package.__name__ for package in packages()} == {f"labkit.{p}" for p in PACKAGES if p in folders}


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_every_public_function_has_a_row(package) -> None:
    public = {
        name
        for name in package.__all__
        if inspect.isfunction(getattr(package, name)) and not name.endswith("_result")
    }
    named = [*package.METHODS, *getattr(package, "TOOLS", {})]
    assert sorted(named) == sorted(public)
    for name in named:
        assert ROWS[f"{package.__name__.partition('.')[2]}.{name}"].function is getattr(package, name)


def test_the_attribution_table_holds_what_gives_a_map_of_a_target() -> None:
    assert all(row.gives == "maps" and row.takes[:2] == ("model", "pictures")
               for row in attribution.METHODS.values())  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_true(name: str) -> None:
    row = ROWS[name]
    when, models, scope = row.labels
    assert when in ("post hoc", "intrinsic")
    assert models in ("specific", "agnostic")
    assert scope in ("local", "global")
    assert row.gives in GIVES
    assert row.dead in ("zero", "warns", "any")
    assert set(row.needs) <= set(NEEDS)
    parameters = list(inspect.signature(row.function).parameters.values())
    taken = [TAKES[kind] for kind in row.takes]
    assert [p.name for p in parameters[: len(taken)]] == taken
    assert set(row.options) <= {p.name for p in parameters[len(taken) :]}
    if "model" in row.takes:
        assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters[3:])
    if row.result is not None:
        assert row.result.__name__ == f"{row.function.__name__}_result"


@pytest.mark.parametrize("name", ROWS)
def test_the_docstring_says_what_the_row_says(name: str) -> None:
    row = ROWS[name]
    text = " ".join(inspect.getdoc(row.function).split())
    assert ">>> " in text
    assert "Unit: " in text
    labels, _, source = text.partition("Labels: ")[2].partition("Source:")
    assert all(label in labels for label in row.labels), labels
    assert (row.paper or "no paper") in source


@pytest.mark.parametrize("name", ROWS)
def test_the_file_s_first_line_has_the_field_s_word(name: str) -> None:
    module = importlib.import_module(ROWS[name].function.__module__)
    assert ROWS[name].title.lower() in inspect.getdoc(module).split("\n")[0].lower()


@pytest.mark.parametrize("name", ROWS)
def test_the_readme_names_it(name: str) -> None:
    assert f"`{ROWS[name].function.__name__}`" in README


@pytest.mark.parametrize("name", attribution.METHODS)
def test_the_readme_s_table_has_its_paper(name: str) -> None:
    (line,) = re.findall(rf"^\|[^|]*`{name}`.*\|$", README, re.MULTILINE)
    author, year = attribution.METHODS[name].paper.split()[0].strip(","), attribution.METHODS[name].paper[-4:]
    assert re.search(rf"{author}[^;|]* {year}", line), line


def test_no_module_is_hidden_behind_a_function_of_its_name() -> None:
    """``import labkit.attribution.occlusion as m`` would give the function."""
    hidden = []
    for package in packages():
        for path in Path(package.__file__).parent.glob("*.py"):
            functions = {
                n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)
            }
            hidden += [f"{package.__name__}.{path.stem}"] * (path.stem in functions)
    assert sorted(hidden) == ["labkit.attribution.cam", "labkit.attribution.rise"]
