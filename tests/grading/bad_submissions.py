"""Submissions that once stopped a batch or lost honest marks, each with what must come of it."""

from __future__ import annotations

from dataclasses import dataclass

from demo import RIGHT_GRADIENT, RIGHT_SCALE

CHAIN = "x" + ".clone()" * 1000
TERMS = " + ".join(["0"] * 2500)


@dataclass(frozen=True)
class Bad:
    """Cells handed in, the status and the marks (scale_add of 4, gradient of 6) that must come of them."""

    cells: tuple[str, ...]
    status: str = "graded"
    scale: float = 4
    gradient: float = 6


def _scale(*cells: str, **outcome) -> Bad:
    return Bad((*cells, RIGHT_GRADIENT), **outcome)


STOPPERS = {
    "same argument twice": _scale("def scale_add(x, x):\n    return x", status="does not parse", scale=0),
    "global after use": _scale("n = 1\ndef scale_add(x, factor):\n    x = n\n    global n\n    return x",
                               status="does not parse", scale=0),
    "nonlocal of nothing": _scale("def scale_add(x, factor):\n    nonlocal y\n    return x",
                                  status="does not parse", scale=0),
    "argument and global": _scale("def scale_add(x, factor):\n    global x\n    return x",
                                  status="does not parse", scale=0),
    "star import within": _scale("def scale_add(x, factor):\n    from math import *\n    return x",
                                 status="does not parse", scale=0),
    "yield in a comprehension": _scale("def scale_add(x, factor):\n    return [(yield i) for i in x]",
                                       status="does not parse", scale=0),
    "a broken neighbour": _scale("def f(a, a):\n    return a\n" + RIGHT_SCALE),
    "a thousand calls": _scale(f"def scale_add(x, factor):\n    return {CHAIN} * factor + 1"),
    "many terms": _scale(f"def scale_add(x, factor):\n    return x * factor + 1 + {TERMS}"),
    "lone surrogate in an error": _scale(
        "def scale_add(x, factor):\n    raise ValueError('caf\\udce9')", scale=0),
    "lone surrogate in a cell": _scale("s = '\udce9'\n", RIGHT_SCALE),
    "lone surrogate in a result": _scale("def scale_add(x, factor):\n    return '\\udce9'", scale=0),
    "forged begin": _scale(
        "import sys, torch\ndef scale_add(x, factor):\n    f = sys._getframe()\n"
        "    while 'send' not in f.f_locals:\n        f = f.f_back\n"
        "    for key in ('begin', 'case', 'kind', 'notes', 'message'):\n"
        "        f.f_locals['send']({key: torch.ones(3)})\n"
        "        f.f_locals['send']({key: [torch.ones(3)]})\n"
        "    return x * factor + 1"),
    "a number of 5000 digits": _scale(
        f"def scale_add(x, factor):\n    n = 0x{'f' * 5000}\n    return x * factor + n // n"),
    "a brace that IPython trips over": _scale('%ls (\n"""\n', RIGHT_SCALE),
    "null byte": _scale("a = 1\0\n", RIGHT_SCALE),
}  # fmt: skip

LOST = {
    "percent in brackets": _scale(
        "%matplotlib inline\nimport torch\ndef scale_add(x, factor):\n    z = (4\n% 3\n)\n"
        "    return x * factor + z"),
    "not equal in brackets": _scale(
        "!ls\ndef scale_add(x, factor):\n    one = int((x.sum()\n!= 0))\n    return x * factor + one"),
    "percent in a string": _scale(
        "%time 3\nT = '''\n%matplotlib\n!ls'''\ndef scale_add(x, factor):\n"
        "    return x * factor + T.count('%')"),
    "a magic with a continued line": _scale("!pip install \\\n   torch\n" + RIGHT_SCALE),
    "global counter": _scale("calls = 0\ndef scale_add(x, factor):\n    global calls\n    calls += 1\n"
                             "    return x * factor + 1"),
    "global that is only written": _scale(
        "last = None\ndef scale_add(x, factor):\n    global last\n    last = x\n    return x * factor + 1"),
    "line separator": _scale("# a\u2028b\ndef scale_add(x, factor):\n    # c\u2028d\n"
                             "    return x * factor + 1"),
    "vertical tab": _scale("S = 'a\x0bb\x0cc'\ndef scale_add(x, factor):\n"
                           "    return x * factor + len(S) - 4"),
    "carriage returns": _scale("ONE = 1\r\ndef scale_add(x, factor):\r\n    return x * factor + ONE\r\n"),
    "many terms beside": _scale(f"scratch = {TERMS}\n" + RIGHT_SCALE),
}  # fmt: skip
