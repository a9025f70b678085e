"""The ledger of the lectures' claims: measured by running a solution notebook in full, written down once.

    python tests/claims/ledger.py 21_which_pixels_matter --note "what was changed since the last time"

``--keep PATH`` also writes the notebook with all that it printed and drew, to look at.

A claim is a set of measured numbers (``what`` -> value, interval, threshold, holds, first value ever). It
stands beside the commit, the seconds its notebook took, and a hash of the code that the numbers rest on:
the notebook's own and every file of the library that it uses, directly or through another.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from labkit.ledger.provenance import hash_of

ROOT = Path(__file__).resolve().parents[2]
LEDGER = Path(__file__).with_name("measured.json")
CLAIMS = {
    "21_which_pixels_matter": ("A1", "A5", "A7"),
    "22_gradients_and_their_tricks": ("A3", "A15"),
    "23_learned_masks": ("A10", "A11", "A12", "A13"),
    "24_surrogates_and_shapley": ("A6", "A8"),
    "25_can_you_trust_a_heatmap": ("A2", "A4", "A9", "A14", "A16", "A17", "A18"),
}


def code_cells(notebook: str) -> list[str]:
    """The code of a solution notebook, cell by cell."""
    raw = json.loads((ROOT / "solutions" / f"{notebook}.ipynb").read_text("utf-8"))
    return ["".join(c["source"]) for c in raw["cells"] if c["cell_type"] == "code"]


def code_hash(notebook: str) -> str:
    """A hash of the notebook's code, of what it uses of the library and of the networks that it names."""
    cells = code_cells(notebook)
    weights = sorted((ROOT / "labkit" / "models" / "weights").glob("*.safetensors"))
    named = [path.read_bytes() for path in weights if any(f'"{path.stem}"' in cell for cell in cells)]
    return hash_of(cells, *named)


def run(
    notebook: str, timeout: int = 3600, keep: Path | None = None
) -> tuple[dict[str, dict[str, dict[str, Any]]], float]:
    """Run a solution in full mode: claim -> what -> its record, and the seconds it took."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(ROOT / "solutions" / f"{notebook}.ipynb", as_version=4)
    kept = {"LABKIT_QUICK", "LABKIT_MODEL", "LABKIT_PHOTOS", "LABKIT_CLAIMS"}
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "claims.jsonl"
        lines.touch()
        setting = {k: v for k, v in os.environ.items() if k not in kept} | {"LABKIT_CLAIMS": str(lines)}
        began = time.perf_counter()
        client = NotebookClient(
            book, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute(env=setting)
        seconds = time.perf_counter() - began
        if keep is not None:
            nbformat.write(book, keep)
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for line in lines.read_text("utf-8").splitlines():
            record = json.loads(line)
            found.setdefault(record.pop("id"), {})[record.pop("what")] = record
    return found, seconds


def read() -> dict[str, Any]:
    """The ledger: claim -> what was measured, when, on which code."""
    return json.loads(LEDGER.read_text("utf-8")) if LEDGER.exists() else {}


def write(notebook: str, found: dict[str, dict[str, dict[str, Any]]], seconds: float, note: str) -> None:
    """Enter a run into the ledger, keeping the first value ever measured and what was changed since."""
    ledger = read()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    for id, measures in sorted(found.items()):
        before = ledger.get(id, {})
        for what, record in measures.items():
            earlier = before.get("measures", {}).get(what, {})
            record["first"] = earlier.get("first", record["value"])
        ledger[id] = {
            "notebook": notebook,
            "holds": all(record["holds"] for record in measures.values()),
            "measures": measures,
            "code": code_hash(notebook),
            "commit": commit.stdout.strip(),
            "date": datetime.date.today().isoformat(),
            "seconds": round(seconds, 1),
            "changes": [*before.get("changes", []), *([note] if note else [])],
        }
    text = json.dumps(dict(sorted(ledger.items())), indent=1, ensure_ascii=False)
    LEDGER.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", choices=list(CLAIMS))
    parser.add_argument("--note", default="", help="what was changed since the last measurement")
    parser.add_argument("--keep", type=Path, help="where to write the notebook as it ran")
    options = parser.parse_args()
    found, seconds = run(options.notebook, keep=options.keep)
    write(options.notebook, found, seconds, options.note)
    for id, measures in found.items():
        for what, record in measures.items():
            print(
                id, "holds" if record["holds"] else "DOES NOT HOLD", what, record["value"], record["interval"]
            )
    print(f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
