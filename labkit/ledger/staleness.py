"""What a measured number rests on, and what of it is another thing now.

Three things: the golden answers of the functions that ran while it was measured (their behaviour), the text
of its experiment and of the exercises' references (what was asked of them), and the networks that were loaded
(weights and card). Nothing here runs a method or loads torch: a test holds the golden answers against the
code, so that comparing files is enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from labkit.ledger.code import ROOT, code_of

__all__ = ["Rests", "checkout", "digests", "stale_because", "network", "resting"]

Rests = dict[str, dict[str, str]]  # "golden", "code", "networks": name -> digest
# What all experiments stand on has golden answers, as the library has.
# Fields that results got later and that tell what was done; what comes of it stands in the fields beside.
TOLD = ("alive", "blurred", "sigma", "start")
BENCH = ("labkit/experiments/bench.py", "labkit/experiments/measures.py")


def checkout(root: Path = ROOT) -> bool:
    """Whether this is a checkout, where tests hold the golden answers: a number is judged nowhere else."""
    return (root / "tests" / "claims" / "verdicts.toml").is_file()


def digests(root: Path = ROOT) -> dict[str, str]:
    """A digest of each golden answer that the checkout's file holds."""
    return _answers(*_stamp(root / "labkit" / "ledger" / "golden.json"))


def network(name: str, root: Path = ROOT) -> str:
    """A digest of a bundled network's weights and card; of the name alone where it does not ship."""
    folder = root / "labkit" / "models" / "weights"
    paths = [folder / f"{name}{kind}" for kind in (".safetensors", ".json")]
    return _digest(*(_bytes(*_stamp(path)) for path in paths if path.is_file()), name.encode())


def _stamp(path: Path) -> tuple[Path, int, int]:
    """A file with what tells that it is another one now."""
    state = path.stat()
    return path, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _answers(path: Path, *_: int) -> dict[str, str]:
    answers = {
        name: {field: value for field, value in answer.items() if field not in TOLD}
        for name, answer in json.loads(path.read_text("utf-8")).items()
    }
    return {name: _digest(json.dumps(a, sort_keys=True).encode()) for name, a in answers.items()}


@lru_cache(maxsize=64)
def _bytes(path: Path, *_: int) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def resting(
    golden: Iterable[str], places: Iterable[str], networks: Iterable[str], root: Path = ROOT
) -> Rests:
    """What a number rests on, as of now: names of golden answers, places of code, names of networks."""
    now = digests(root)
    return {
        "golden": {name: now[name] for name in sorted(set(golden)) if name in now},
        "code": {place: code_of(place, without=BENCH, root=root) for place in sorted(set(places))},
        "networks": {name: network(name, root) for name in sorted(set(networks))},
    }


def stale_because(rests: Mapping[str, Mapping[str, str]], root: Path = ROOT) -> list[str]:
    """Why a number that rests on this is stale, a reason a line; empty where it is valid.

    >>> stale_because({"golden": {"data.no_such": "0"}, "code": {}, "networks": {}})
    ['data.no_such has no golden answer any more']
    """
    now, reasons = digests(root), []
    for name, digest in rests["golden"].items():
        if name not in now:
            reasons.append(f"{name} has no golden answer any more")
        elif now[name] != digest:
            reasons.append(f"{name} behaves otherwise (its golden answer has moved)")
    for place, digest in rests["code"].items():
        try:
            if code_of(place, without=BENCH, root=root) != digest:
                reasons.append(f"{place} was changed")
        except LookupError:
            reasons.append(f"{place} is gone")
    for name, digest in rests["networks"].items():
        if network(name, root) != digest:
            reasons.append(f"the network {name} is another one")
    return reasons
