"""Which answers are like one another, or like labkit's own: told to the instructor, never taken from a mark.

Functions are compared as trees without names of variables, annotations and docstrings, so that a renamed
variable hides nothing; the names of what is called stay. Short functions are alike by nature and are not
told; nor is likeness to labkit's own where more than a third of the class has it, for then the question leads
there. In a small class a third is one or two students, who may as well have copied: there it is told of
every function that leaves a choice, with how many have it. Two students are never named as alike without
saying so where both are like labkit's own.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from labkit.calls.exercise import Exercise
from labkit.grading.submissions import Submission

__all__ = ["alike", "tree_of"]

FEWEST = 20  # nodes: below, two people write the same
STATEMENTS = 3  # and so they do in two statements, however long
SMALL = 9  # answers: below, a third of them says nothing of the question
ALIKE = 0.9  # of the nodes, so that a line put in or taken out hides little
STATEMENT = {kind.__name__ for kind in ast.stmt.__subclasses__()}
SKIPPED = {"annotation", "returns", "decorator_list", "ctx", "type_comment", "kind"}


def tree_of(function: ast.AST) -> tuple[str, ...]:
    """The nodes of a function in order, names of variables taken out; empty for a short one.

    >>> line = "def f(a): return abs(a) + a ** 2 + a ** 3 + a ** 4"
    >>> one, two = (tree_of(ast.parse(text).body[0]) for text in (line, line.replace("a)", "b)")))
    >>> one == two != ()
    True
    """
    nodes: list[str] = []
    called = {id(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    waiting: list[Any] = [function]  # no recursion: a tree may be a thousand calls deep
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        word = getattr(node, "attr", "") or (_constant(node.value) if isinstance(node, ast.Constant) else "")
        word = node.id if id(node) in called and isinstance(node, ast.Name) else word
        nodes.append(f"{type(node).__name__} {word}")
        below: list[ast.AST] = []
        for name, value in ast.iter_fields(node):
            inside = value if isinstance(value, list) else [value]
            below += [item for item in inside if isinstance(item, ast.AST) and name not in SKIPPED]
        waiting += reversed(below)
    return tuple(nodes) if len(nodes) >= FEWEST else ()


def _constant(value: object) -> str:
    """A constant as text; Python refuses to write very long numbers out."""
    return hex(value) if isinstance(value, int) else repr(value)


def alike(submissions: Sequence[Submission], asked: Sequence[Exercise]) -> list[tuple[str, str, str]]:
    """What is to be told of answers that are alike: the student, the exercise's title, a sentence."""
    told: list[tuple[str, str, str]] = []
    for exercise in asked:
        trees = {s.student.id: tree for s in submissions if (tree := _answer(s, exercise.name))}
        most, own = max(1, len(trees) // 3), _like_own(exercise, trees)
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for student, tree in trees.items():
            if _leaves_choice(tree):
                groups[tree].append(student)
        pairs = [group for group in groups.values() if 1 < len(group) <= max(2, most)]
        paired = {student for group in pairs for student in group}
        for what, found in own.items():
            if len(found) <= most or (len(trees) < SMALL and any(_leaves_choice(trees[s]) for s in found)):
                count = f", as {len(found)} of the {len(trees)} answers are" if len(found) > most else ""
                sentence = f"the function is written like {what}{count}"
                told += [(student, exercise.title, sentence) for student in found if student not in paired]
        for group in pairs:
            told += [(student, exercise.title, _shared(student, group, own)) for student in group]
    return told


def _like_own(exercise: Exercise, trees: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """What of labkit's own is found again, with the students whose function is like it."""
    found = {
        what: [student for student, tree in trees.items() if _like(tree, own)] for what, own in _own(exercise)
    }
    return {what: students for what, students in found.items() if students}


def _leaves_choice(tree: tuple[str, ...]) -> bool:
    """Whether a function is so long that two people write it differently."""
    return sum(word.split()[0] in STATEMENT for word in tree[1:]) >= STATEMENTS


def _shared(student: str, group: Sequence[str], own: Mapping[str, Sequence[str]]) -> str:
    others = ", ".join(other for other in group if other != student)
    sources = " and ".join(what for what, found in own.items() if student in found)
    both = f"; {'both' if len(group) == 2 else 'all'} are written like {sources}" if sources else ""
    return f"the function is that of {others}, but for the names of its variables{both}"


def _answer(submission: Submission, name: str) -> tuple[str, ...]:
    holder = submission.holder(name)
    found = holder[1].definition(name) if holder else None
    return tree_of(found) if found is not None else ()


def _own(exercise: Exercise) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The published solution, and the library's functions that the exercise asks to write oneself."""
    sources: list[tuple[str, Any]] = [("the published solution", exercise.reference)]
    for dotted in exercise.blocks:
        package, _, name = dotted.rpartition(".")
        try:
            sources.append((f"{dotted} of the library", getattr(importlib.import_module(package), name)))
        except (ImportError, AttributeError):
            continue  # another test sees to it that blocks name what there is
    for what, function in sources:
        if tree := _source_tree(function):
            yield what, tree


def _source_tree(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    except (OSError, TypeError, SyntaxError):
        return ()
    return tree_of(body[0]) if body and isinstance(body[0], ast.FunctionDef) else ()


def _like(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if one == other:
        return True
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE
