"""Mechanical mutants of an answer: each that passes every case shows where the cases are blind.

A mutant differs from the answer in one place: a mean for a sum, a lost ``abs``, ``relu``, ``clamp``, term or
exponent, plus for minus, times for over, another axis, ``<`` for ``<=``, a number larger by one. Where it
changes nothing, as ``detach`` of what has no gradient, it is equivalent and no fault of the cases.
"""

from __future__ import annotations

import ast
import copy
import signal
from collections.abc import Callable, Iterator
from typing import Any

from labkit.calls.call import perform, realize
from labkit.calls.exercise import Exercise
from labkit.checking.judge import Judge

__all__ = ["blind", "mutants"]

OTHERS = {"sum": "mean", "mean": "sum", "amax": "amin", "amin": "amax", "max": "min", "min": "max",
          "argmax": "argmin", "mul": "add", "add": "mul", "floor": "ceil", "norm": "sum"}  # fmt: skip
LOST = {"abs", "relu", "clamp", "sqrt", "square", "exp", "log", "flip", "softmax", "sigmoid", "item", "clone",
        "round", "sign", "cumsum", "float", "double"}  # fmt: skip
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
           ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq}  # fmt: skip
MODULES = ("torch", "np", "F", "math")
SECONDS = 2  # a mutant may loop without end


def mutants(head: str, body: str) -> Iterator[tuple[str, str]]:
    """Each mutant of a function, as what was changed ("sum -> mean in line 2") and its source.

    >>> [what for what, _ in mutants("def f(x):", "    return x.abs().sum()")]
    ['x.abs().sum() -> x.abs().mean() in line 1', 'x.abs() -> x in line 1']
    """
    tree = ast.parse(f"{head}\n{body}")
    above = head.count("\n") + 1
    for node in ast.walk(tree):
        for other in _others(node):
            before = ast.unparse(node)
            changed = _replaced(tree, node, other)
            yield f"{before} -> {ast.unparse(other)} in line {node.lineno - above}", changed  # type: ignore[attr-defined]


def _replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> str:
    class Put(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return new if node is old else super().generic_visit(node)

    # the visitor changes nodes in place, so the tree is copied with a memo that keeps the node findable
    memo: dict[int, Any] = {}
    twin = copy.deepcopy(tree, memo)
    old = memo[id(old)]
    return ast.unparse(ast.fix_missing_locations(Put().visit(twin)))


def _others(node: ast.AST) -> Iterator[ast.expr]:
    """What may stand in place of an expression."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name in OTHERS:
            yield _with(node, func=ast.Attribute(node.func.value, OTHERS[name], ast.Load()))
        module = isinstance(node.func.value, ast.Name) and node.func.value.id in MODULES
        if name in LOST and not module:
            yield node.func.value
        for k, value in enumerate(node.args):
            if name in (*OTHERS, *LOST) and isinstance(value, ast.Constant) and type(value.value) is int:
                axis = ast.Constant(value.value - 1 if value.value else 1)
                yield _with(node, args=[*node.args[:k], axis, *node.args[k + 1 :]])
    elif isinstance(node, ast.BinOp):
        if type(node.op) in SWAPPED:
            yield _with(node, op=SWAPPED[type(node.op)]())
        if not isinstance(node.left, ast.Constant):
            yield node.left
        if isinstance(node.op, (ast.Add, ast.Mult)):
            yield node.right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPPED:
        yield _with(node, ops=[SWAPPED[type(node.ops[0])]()])
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.copy_location(ast.Constant(node.value + 1), node)


def _with(node: ast.expr, **fields: Any) -> ast.expr:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def blind(exercise: Exercise, seed: int = 0) -> list[str]:
    """The mutants of an exercise's answer that pass all its cases, public and hidden.

    Needs an exercise that was made from an answer; runs in the main thread, which a mutant without end is
    interrupted in.
    """
    judge, space = Judge(exercise, seed), exercise.reference.__globals__
    survived = []
    for what, source in mutants(*exercise.answer):
        made: dict[str, Any] = {}
        exec(compile(source, "<mutant>", "exec", dont_inherit=True), space, made)
        if _passes(judge, made[exercise.name]):
            survived.append(what)
    return survived


def _passes(judge: Judge, function: Callable[..., Any]) -> bool:
    expected, before = judge.expected, signal.signal(signal.SIGALRM, _stop)
    try:
        for (_, case), wanted in zip(judge.cases, expected, strict=True):
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            outcome = perform(function, realize(case.args), realize(dict(case.kwargs)), case.probe)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if not judge.verdict(case, outcome, wanted).passed:
                return False
        return True
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _stop(*_: object) -> None:
    raise TimeoutError
