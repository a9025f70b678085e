"""The second half of 34_looking_without_a_hypothesis: concepts a picture, a tree, its fidelity."""

from __future__ import annotations

from typing import Any

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("34_looking_without_a_hypothesis")


def DecisionTreeClassifier(**options: Any) -> Any:  # noqa: N802
    """scikit-learn's, whose import costs every check of every notebook half of what torch's does."""
    from sklearn.tree import DecisionTreeClassifier as Tree

    return Tree(**options)


def vector_cases(draw: Draw):
    def case(name, n, count, most, probe=None):
        maps = torch.randint(most + 1, (n, 5, 6), generator=draw.generator)
        return Case(name, (maps, count), probe=probe)

    yield case("two pictures, three concepts", 2, 3, 3)
    yield case("a concept that is in none", 3, 6, 4)
    yield case("four pictures; the maps must stay", 4, 2, 2, "both")


@SHEET.exercise(
    "concepts.concept_vector", "A picture as a row of concepts", points=2, minutes=8, difficulty=1,
    cases=vector_cases, blocks=("labkit.concepts.concept_shares",),
    mistakes=(
        ("range(1, count + 1)", "range(count)",
            "You count 0, which is no concept, and leave out the last one. Concepts run from 1 to count."),
        ("mean(1)", "sum(1)", "You count pixels. The share is asked for: divide by how many there are."),
        ("mean(1)", "amax(1)", "You say whether a concept is there. Its share of the pixels is asked for."),
        ("flat == k", "flat >= k", "You count all later concepts as well."),
        (".float().mean(1)", ".float().sum(1) / (flat > 0).float().sum(1).clamp(min=1)",
            "These are shares of what is labelled. Pixels without a label belong to the picture, too."),
    ),
)  # fmt: skip
def concept_vector(maps, count):
    """The share of each picture's pixels that has each concept.

    maps: (N, H, W), whole numbers, 0 = none, else a concept from 1 to count.
    Returns (N, count), floats from 0 to 1; column k is the concept k + 1.
    """
    flat = maps.flatten(1)
    columns = [(flat == k).float().mean(1) for k in range(1, count + 1)]
    return torch.stack(columns, dim=1)


def tree_cases(draw: Draw):
    def case(name, n, depth, kinds, probe=None):
        rows, new = draw.pictures(n, 4), draw.pictures(n, 4)
        classes = torch.tensor(kinds)
        score = rows[:, 0] + 0.6 * rows[:, 1] - 0.5 * rows[:, 2] * rows[:, 3]
        bins = (score.argsort().argsort() * len(kinds)) // n
        return Case(name, (rows, classes[bins], new, depth), probe=probe)

    yield case("three classes, two questions", 60, 2, (1, 4, 7))
    yield case("two classes, one question", 40, 1, (3, 5))
    yield case("four classes, four questions; the arguments must stay", 90, 4, (0, 2, 3, 9), "both")


@SHEET.exercise(
    "concepts.stand_in", "A tree in its place", points=3, minutes=10, difficulty=2,
    cases=tree_cases, compare="exact", imports=("torch", "numpy", "math", "sklearn"),
    blocks=("labkit.concepts.distill", "labkit.concepts.distill_result"),
    mistakes=(
        ("max_depth=depth, ", "",
            "The tree may ask as much as it likes: it learns the rows by heart. Limit it to depth."),
        ("max_depth=depth", "max_depth=depth + 1",
            "It asks one question more than it may: depth is max_depth itself."),
        ("max_depth=depth", "max_leaf_nodes=depth + 1",
            "You limit its leaves. depth is how many questions it may ask of a picture: max_depth."),
        ("tree.predict(new_rows.numpy())", "tree.predict_proba(new_rows.numpy()).argmax(1)",
            "These are column numbers. predict gives the classes themselves."),
        ("tree.predict(new_rows.numpy())", "tree.predict(rows.numpy())",
            "You ask it about the pictures that it was taught. It has to answer for the new ones."),
        ("answers.numpy()", "answers.numpy()[::-1].copy()",
            "The answers stand in another order than the rows: row i belongs to answer i."),
    ),
)  # fmt: skip
def stand_in(rows, answers, new_rows, depth):
    """Teach a decision tree what a network answers, and let it answer for new pictures.

    rows: (N, D), concepts of the pictures taught; answers: (N,), classes; new_rows: (M, D);
    depth: how many questions it may ask. Use DecisionTreeClassifier with random_state=0 and
    min_samples_leaf=3 (at least three pictures a leaf).
    Returns (M,), a tensor of classes.
    """
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=3, random_state=0)
    tree.fit(rows.numpy(), answers.numpy())
    found = tree.predict(new_rows.numpy())
    return torch.from_numpy(found)


def fidelity_cases(draw: Draw):
    def case(name, n, share, probe=None):
        student, network = (torch.randint(3, (n,), generator=draw.generator) for _ in range(2))
        return Case(name, (student, network, draw.masks(n, share=share)), probe=probe)

    yield case("twelve pictures", 12, 0.5)
    yield case("few of many; the arguments must stay", 40, 0.3, "both")
    yield case("most of them", 25, 0.8)
    student = torch.randint(3, (6,), generator=draw.generator)
    yield Case("none of them", (student, student, torch.zeros(6, dtype=torch.bool)))


@SHEET.exercise(
    "concepts.fidelity", "How faithful is it?", points=2, minutes=6, difficulty=1, cases=fidelity_cases,
    mistakes=(
        ("same[where].float().mean()", "same.float().mean()",
            "You take all pictures. Only those count where where is True."),
        ("same[where].float().mean()", "(same & where).float().mean()",
            "You divide by the number of all pictures. Divide by how many are asked about."),
        ("student == network", "student != network", "These are the pictures on which they differ."),
        ('float("nan")', "0.0", "Of no picture at all the share is unknown: return NaN, not 0."),
    ),
)  # fmt: skip
def fidelity(student, network, where):
    """On what share of some pictures does the student answer as the network?

    student, network: (N,), classes; where: (N,), True for the pictures that count.
    Returns one number (a tensor), NaN if there is no such picture.
    """
    same = student == network
    if not where.any():
        return torch.tensor(float("nan"))
    return same[where].float().mean()
