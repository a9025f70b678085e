"""The names that a statement of Python binds, uses and leaves free: what a notebook's slices are cut by."""

from __future__ import annotations

import ast
import symtable
import warnings
from contextlib import suppress

__all__ = ["bound_names", "used_names", "free_names", "inner_names", "called_names"]


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds or changes (``x.a = 1`` and ``x[0] = 1`` change x)."""
    names: set[str] = set()

    def target(node: ast.AST) -> None:
        inside = [node]
        while inside:
            found = inside.pop()
            if isinstance(found, ast.Name):
                names.add(found.id)
            elif isinstance(found, (ast.Attribute, ast.Subscript, ast.Starred)):
                inside.append(found.value)
            elif isinstance(found, (ast.Tuple, ast.List)):
                inside += found.elts

    waiting: list[ast.AST] = [statement]  # no recursion: a chain of a thousand calls is a tree as deep
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            for item in node.targets:
                target(item)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.For, ast.NamedExpr)):
            target(node.target)
        elif isinstance(node, ast.With):
            for entry in node.items:
                if entry.optional_vars is not None:
                    target(entry.optional_vars)
        if not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def used_names(statement: ast.stmt) -> set[str]:
    """Every name that a statement reads, inner functions and annotations included."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def free_names(source: str) -> set[str]:
    """The names that a statement takes from the notebook: not its own arguments and local variables.

    What it declares global is taken from there too. Raises SyntaxError for what Python reads but does not
    compile, as an argument that stands there twice or a ``break`` without a loop.
    """

    def names(table: symtable.SymbolTable) -> set[str]:
        outer = table.get_type() == "module"
        free = {
            s.get_name()
            for s in table.get_symbols()
            if s.is_declared_global() or (s.is_referenced() and (outer or s.is_global()))
        }
        return free.union(*(names(child) for child in table.get_children()))

    found = names(symtable.symtable(source, "cell", "exec"))
    with warnings.catch_warnings(), suppress(RecursionError, MemoryError, ValueError, OverflowError):
        warnings.simplefilter("ignore")  # a doubtful line is its writer's; and what is too deep is run first
        compile(source, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return found


def inner_names(statement: ast.stmt) -> set[str]:
    """The names that a statement binds for itself: variables of comprehensions, arguments of lambdas."""
    nodes = list(ast.walk(statement))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.arg for n in nodes if isinstance(n, ast.arg)}


def called_names(statement: ast.stmt) -> set[str]:
    """The plain names that an assignment calls at the top level (not inside a definition)."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return set()
    calls = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return {node.id for node in calls if isinstance(node, ast.Name)}
