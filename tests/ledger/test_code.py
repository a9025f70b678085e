"""The hash of source text: what says nothing changes nothing, on every Python the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.ledger import code

ROOT = Path(__file__).resolve().parents[2]
PLAIN = '''
import os

SIZE = 3


def area(x, y=2):
    """Say what."""
    total = x * y
    if total < 0:
        raise ValueError(f"total must be positive; got {total}.")
    return {"a": total, "b": f"{total:.2f} of {x!r}"}
'''
SAYS_NOTHING = {
    "a comment": ("total = x * y", "total = x * y  # the area"),
    "a comment line": ("    total", "    # the area\n    total"),
    "a docstring": ("Say what.", "Say something else, ### with 'quotes'."),
    "no docstring": ('    """Say what."""\n', ""),
    "a raw docstring": ('"""Say what."""', 'r"""Say \\what."""'),
    "white space": ("x * y", "x*y"),
    "blank lines": ("    total", "\n\n    total"),
    "a line in brackets": ('{"a": total, "b"', '{\n        "a": total,\n"b"'),
    "a continued line": ("total = x * y", "total = \\\n        x * y"),
    "an error sentence": ("total must be positive; got {total}.", "total is {total}, below 0."),
    "deeper indentation": ("    if total < 0:\n        raise", "    if total < 0:\n           raise"),
}
SAYS_SOMETHING = {
    "a number": ("SIZE = 3", "SIZE = 4"),
    "a sign": ("x * y", "x + y"),
    "a default": ("y=2", "y=3"),
    "a word": ('"a": total', '"c": total'),
    "a format": (":.2f", ":.3f"),
    "a space in an f-string": (":.2f} of", ":.2f}  of"),
    "another error": ("raise ValueError", "raise TypeError"),
    "a block": ("    return", "        return"),
    "one more statement": ("import os", "import os; import sys"),
}


@pytest.mark.parametrize("what", SAYS_NOTHING)
def test_what_says_nothing_changes_nothing(what: str) -> None:
    old, new = SAYS_NOTHING[what]
    assert PLAIN.count(old) == 1
    assert code.text(PLAIN.replace(old, new)) == code.text(PLAIN)


@pytest.mark.parametrize("what", SAYS_SOMETHING)
def test_what_says_something_changes_it(what: str) -> None:
    old, new = SAYS_SOMETHING[what]
    assert PLAIN.count(old) == 1
    assert code.hash_of([PLAIN.replace(old, new)]) != code.hash_of([PLAIN])


TRICKY = {
    "f-string over lines": 'x = f"""a {\n    1 + 1\n} b\n  {{no}} {2:>{width}}"""\n',
    "f-strings joined": 'x = f"a {1}" "b" rf"\\d {2!r:^{3}}" F\'c\'\n',
    "f-string in an f-string": 'x = f\'{f"{1} {2}"} {d["k"]}\'\n',
    "f-string of a lambda": 'x = f"{(lambda y: y + 1)(2)}"  # {no}\n',
    "letters beyond ascii": 'größe = "µ → ∞"; π = f"größe {größe!s} ∞ {1} 😀 {2}" + "é"\n',
    "decorators": "@a.b(1)\n@c\nclass D(E, metaclass=F):\n    'doc'\n    x: int = 1\n    y: 'list[int]'\n",
    "walrus and stars": "if (n := len(a)) > 1: print(*a, sep='', **{'x': n})\nelse: pass\n",
    "types": "def f[int](x: int | None = None, /, *, y: 'A' = ...) -> tuple[int, ...]: return x, y\n",
    "continued lines": "x = 1 + \\\n    2\nassert x, \\\n  'so'\n",
    "raw and bytes": "x = rb'\\x00', Rb\"\"\"a\nb\"\"\", u'x', r'''\\ '''\n",
    "match": "match x:\n    case {'a': 1, **rest}: y = -1\n    case [a, *_] if a: y = 0o17\n",
    "numbers": "x = 1_000.5e-3j + 0xFF if 0 else .5\n",
    "async": "async def f():\n\tasync with a as b, c: await d\n\tasync for i in j: yield i\n",
    "no line at the end": "def f():\n    return 1",
    "comment at the end": "x = 1\n    # deeper\n# end",
    "only a docstring": '"""Nothing else."""',
    "form feed": "x = 1\n\x0cy = 2\n",
    "global": "def f():\n    global a, b; nonlocal_ = 1; raise A.B(c) from d\n",
}
RUN = """
import importlib.util, json, sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p]
spec = importlib.util.spec_from_file_location("hashing", sys.argv[1])
module = sys.modules["hashing"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
given = json.load(sys.stdin)
print(json.dumps({
    "version": sys.version_info[:2], "loaded": sorted(sys.modules),
    "hashes": {k: module.hash_of([v]) for k, v in given.items()},
    "claim": {k: module.hash_of([v]) for k, v in module.reached(sys.argv[2]).items()},
}))
"""
LATER = {  # what 3.11 cannot read
    "the same quotes within": 'x = f"{d["k"]} {", ".join(f"{v!r}" for v in a)}"\n',
    "a comment within": 'x = f"""{\n    1  # one\n}"""\n',
    "a backslash within": "x = f\"{'\\n'.join(a)}\"\n",
}


def interpreters() -> dict[str, str | None]:
    """Python 3.11 to 3.13 as far as they are there: on the path, or among pyenv's."""
    found: dict[str, str | None] = {}
    for version in ("3.11", "3.12", "3.13"):
        installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        named = [p for p in (shutil.which(f"python{version}"), *map(str, installed)) if p]
        if sys.version_info[:2] == tuple(map(int, version.split("."))):
            named.insert(0, sys.executable)
        # a name on the path may be a stub that only says where to get one
        able = (
            p
            for p in named
            if subprocess.run([p, "-c", ""], capture_output=True, check=False).returncode == 0
        )
        found[version] = next(able, None)
    return found


PYTHONS = interpreters()
PLACE = "labkit/ledger/code.py::reached"


def hashes(python: str, given: dict[str, str]) -> dict:
    done = subprocess.run(
        [python, "-I", "-c", RUN, code.__file__, PLACE],
        input=json.dumps(given), capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_gives_the_same_hash_with_its_standard_library_alone(version: str) -> None:
    python = PYTHONS[version]
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    files = sorted((ROOT / "labkit").rglob("*.py"))
    given = {p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in files}
    given |= {k: v for k, v in TRICKY.items() if version != "3.11" or "[int]" not in v}
    found = hashes(python, given)
    assert ".".join(map(str, found["version"])) == version
    assert not {"torch", "numpy", "labkit"} & set(found["loaded"])
    here = {}
    for name, source in given.items():
        try:
            here[name] = code.hash_of([source])
        except SyntaxError:  # a newer Python reads more
            here[name] = found["hashes"][name]
    assert found["hashes"] == here
    assert found["claim"] == {k: code.hash_of([v]) for k, v in code.reached(PLACE).items()}


def test_newer_pythons_agree_on_what_3_11_cannot_read() -> None:
    able = [p for v, p in PYTHONS.items() if v != "3.11" and p]
    if len(able) < 2:
        pytest.skip("Python 3.12 and 3.13 are not both here")
    first, second = (hashes(python, LATER)["hashes"] for python in able)
    assert first == second
    assert len(set(first.values())) == len(LATER)


LAB = """
from labkit.experiments.bench import Bench
from labkit.experiments.common import twins
from labkit.models import load_model

COUNT = 3
OTHER = 4


def helper(x):
    return x + COUNT


def unused(x):
    return OTHER


@experiment("Z1", "lab")
def z1(bench: Bench, *, own):
    return helper(own(twins))
"""
COMMON = "def twins():\n    return pair()\n\n\ndef pair():\n    return 2\n\n\ndef alone():\n    return 1\n"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "labkit" / "experiments"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text(LAB)
    (folder / "common.py").write_text(COMMON)
    (folder / "bench.py").write_text("class Bench: ...\n")
    return tmp_path


def test_a_definition_is_taken_with_what_it_uses_of_its_folder(lab: Path) -> None:
    bench = "labkit/experiments/bench.py"
    found = code.reached("labkit/experiments/lab.py::z1", without=[bench], root=lab)
    names = {name.removeprefix("labkit/experiments/") for name in found}
    assert names == {"lab.py::z1", "lab.py::helper", "lab.py::COUNT", "common.py::twins", "common.py::pair"}
    assert found["labkit/experiments/lab.py::z1"].startswith('@experiment("Z1", "lab")')
    assert f"{bench}::Bench" in code.reached("labkit/experiments/lab.py::z1", root=lab)
    with pytest.raises(LookupError, match=r"lab.py::z2 is not there"):
        code.reached("labkit/experiments/lab.py::z2", root=lab)
    with pytest.raises(LookupError, match=r"gone.py::z2 is not there"):
        code.reached("labkit/experiments/gone.py::z2", root=lab)


@pytest.mark.parametrize(
    ("file", "old", "new", "moves"),
    [
        ("lab", "return x + COUNT", "return x - COUNT", True),
        ("lab", "COUNT = 3", "COUNT = 5", True),
        ("lab", "own(twins)", "own(twins, 1)", True),
        ("common", "return 2", "return 3", True),
        ("lab", "return OTHER", "return OTHER + 1", False),
        ("common", "return 1", "return 7", False),
        ("lab", "    return helper", "    # a remark\n    return helper", False),
    ],
)
def test_a_changed_helper_changes_the_hash_and_another_does_not(
    lab: Path, file: str, old: str, new: str, moves: bool
) -> None:
    before = code.code_of("labkit/experiments/lab.py::z1", root=lab)
    path = lab / "labkit" / "experiments" / f"{file}.py"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    assert (code.code_of("labkit/experiments/lab.py::z1", root=lab) != before) == moves


def test_a_number_does_not_rest_on_an_exercises_hints_and_cases(tmp_path: Path) -> None:
    answer = "def step(x):\n    return half(x)\n\n\ndef half(x):\n    return x / 2\n"
    (tmp_path / "labkit" / "exercises").mkdir(parents=True)
    path, hashes = tmp_path / "labkit" / "exercises" / "steps.py", []
    for hint in ("Halve it.", "Divide it by two."):
        told = (
            f'CASES = "{hint}"\n\n\n@SHEET.exercise("a.step", cases=CASES, mistakes=("2", "3", "{hint}"))\n'
        )
        path.write_text(told + answer)
        hashes.append(code.code_of("labkit/exercises/steps.py::step", root=tmp_path))
    assert hashes[0] == hashes[1]
    path.write_text(told + answer.replace("x / 2", "x / 3"))
    assert code.code_of("labkit/exercises/steps.py::step", root=tmp_path) != hashes[0]
