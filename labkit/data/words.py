"""The names of the world's objects and parts as words: WordNet's steps between them, and word vectors.

The numbers are not ours: ``concept_words.json`` says where each comes from and under which licence, and
``data_scripts/concept_words.py`` how it was reduced to these names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from labkit.core.checks import check_choice

__all__ = ["ConceptWords", "concept_words"]

FILE = Path(__file__).with_name("concept_words.json")


class ConceptWords(NamedTuple):
    """``names``; ``steps`` (C, C): the fewest steps up and down WordNet's "is a kind of" between two of them;
    ``vectors`` (C, 100): word vectors of length 1; ``senses``: which of WordNet's meanings was taken."""

    names: tuple[str, ...]
    steps: Int[ndarray, "C C"]
    vectors: Float[ndarray, "C 100"]
    senses: dict[str, str]


@cache
def _record() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))


def concept_words(names: Sequence[str] | None = None) -> ConceptWords:
    """What dictionaries and texts say of concepts: WordNet's distances and word vectors, for these names.

    ``names``: objects and parts of the toy world, in the order that is wanted; None takes all. A name of two
    words has the mean of their vectors; WordNet has no traffic cone, so the cone as a thing stands for it.
    Raises ValueError for a name that is no object and no part.

    Source: Miller 1995, "WordNet"; Pennington, Socher and Manning 2014, "GloVe".

    >>> found = concept_words(["horse", "zebra", "wheel"])
    >>> found.steps[0].tolist(), found.vectors.shape
    ([0, 2, 18], (3, 100))
    """
    record = _record()
    known = record["names"]
    for name in known if names is None else names:
        check_choice("name", name, known)
    taken = tuple(known if names is None else names)
    rows = [known.index(name) for name in taken]
    steps, vectors = np.array(record["wordnet"]["steps"]), np.array(record["vectors"]["rows"])
    senses = {name: record["wordnet"]["senses"][name] for name in taken}
    return ConceptWords(taken, steps[np.ix_(rows, rows)], vectors[rows], senses)
