"""The Python of a notebook's cell: what IPython hands to the shell or to a magic is taken out.

IPython's own transformers say what that is. "%matplotlib inline", "!pip install x" over several lines, "len?"
and "files = !ls" go; "%time f(3)" leaves "f(3)", and of a cell that begins with %%time, %%timeit or %%capture
the rest stays. A line that begins with % or ! and goes on an expression in brackets is Python. Lines keep
their numbers, so that an error names the student's own.
"""

from __future__ import annotations

import ast
import re

__all__ = ["without_magics"]

MOST_MAGICS = 500  # in a cell, as IPython has it
TIMED = re.compile(r"get_ipython\(\)\.run_line_magic\('time', (.+)\)\s*$")


def without_magics(source: str) -> str:
    """The Python of a cell, on its own lines; a cell that no transformer makes Python of is given as it came.

    >>> without_magics("!pip install \\\\\\n    torch\\nx = 7")
    'pass\\n\\nx = 7\\n'
    """
    try:
        ast.parse(source)
        return source
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        from IPython.core.inputtransformer2 import TransformerManager

    if source.lstrip().startswith("%%"):
        first, _, rest = source.lstrip().partition("\n")
        above = "\n" * (source.count("\n") - rest.count("\n"))
        runs = first.split()[0] in ("%%time", "%%timeit", "%%capture")
        return above + without_magics(rest) if runs else ""
    lines, manager = [line + "\n" for line in source.split("\n")], TransformerManager()
    # each round reads the cell again: a huge cell of nothing but magics must not hold up a class
    rounds = min(MOST_MAGICS, 10**6 // len(source))
    for _ in range(rounds):
        before = lines
        changed, lines = manager.do_one_token_transform(before)
        at = next((i for i, (old, new) in enumerate(zip(before, lines, strict=False)) if old != new), None)
        if not changed or at is None:
            break
        line, lost = lines[at], len(before) - len(lines)
        kept = line[: len(line) - len(line.lstrip())] + _timed(line) + "\n"
        lines = [*lines[:at], kept, *["\n"] * lost, *lines[at + 1 :]]
    return "".join(lines)


def _timed(line: str) -> str:
    """The statement that a line's ``%time`` times; ``pass`` for every other magic."""
    found = TIMED.search(line)
    statement = ast.literal_eval(found[1]) if found else "pass"
    try:
        ast.parse(statement)
    except SyntaxError:
        return "pass"
    return str(statement)
