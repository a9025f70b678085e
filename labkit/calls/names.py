"""The names that a statement of Python binds, uses and leaves free: what a notebook's slices are cut by."""

from __future__ import annotations

import ast
import symtable

__all__ = ["bound_names", "used_names", "free_names", "inner_names", "called_names"]


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds or changes (``x.a = 1`` and ``x[0] = 1`` change x)."""
    names: set[str] = set()

    def target(node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
            target(node.value)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                target(item)

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            return
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
        if isinstance(node, ast.Lambda):
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(statement)
    return names


def used_names(statement: ast.stmt) -> set[str]:
    """Every name that a statement reads, inner functions and annotations included."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def free_names(statement: ast.stmt) -> set[str]:
    """The names that a statement takes from the notebook: not its own arguments and local variables."""

    def names(table: symtable.SymbolTable) -> set[str]:
        outer = table.get_type() == "module"
        free = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (outer or s.is_global())}
        return free.union(*(names(child) for child in table.get_children()))

    return names(symtable.symtable(ast.unparse(statement), "cell", "exec"))


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
