"""The exercises of the notebook 35_the_detective: find faults by re-drawing, hand in, mend one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from labkit.calls.exercise import Case, Verdict
from labkit.calls.form import Draw, Sheet
from labkit.data import CLASSES
from labkit.evaluation.detective import EDITS, MANY, answers, case
from labkit.evaluation.findings import judged

SHEET = Sheet("35_the_detective")
STUDENT = "ada"
BANKS = 3  # sets of scenes on which findings are judged; each is drawn once for a whole class
PUBLIC = Draw("detective.finding public").index(BANKS)


@dataclass(frozen=True)
class Judgement:
    """Compares a finding with nothing: asks the network of the case, as dealt to the id beside it."""

    number: int
    bank: int

    def __call__(self, case_: Case, args: Any, output: Any, expected: Any) -> Verdict:
        """Right, or the judge's sentence; of a finding that is none, what it must be."""
        if not isinstance(output, tuple | list) or len(output) != 2:
            return Verdict(False, "type", "the result must be your id and the finding: return STUDENT, None")
        try:
            network = case(output[0], self.number)
        except ValueError as error:
            return Verdict(False, "values", str(error))
        found = judged(network, output[1], seed=self.bank)
        return Verdict(found.right, "right" if found.right else "values", "" if found.right else found.why)


def answers_of(draw: Draw, *shape: int, kinds: int = 4):
    return torch.randint(kinds, shape, generator=draw.generator)


def missed_cases(draw: Draw):
    def case(name, kinds, scenes):
        told = answers_of(draw, kinds, scenes, kinds=kinds)
        own = torch.arange(kinds)[:, None].expand(kinds, scenes)
        return Case(name, (torch.where(draw.masks(kinds, scenes, share=0.6), own, told),))

    yield case("four classes, six scenes each", 4, 6)
    yield case("five classes, three scenes each", 5, 3)
    yield case("as many classes as scenes", 6, 6)


@SHEET.exercise(
    "detective.missed", "Which class is in trouble", points=1, minutes=5, difficulty=1, cases=missed_cases,
    mistakes=(
        ("told != own", "told == own", "That is the share named rightly. Count the scenes that are missed."),
        (".mean(1)", ".amax(1)", "You ask whether any scene is missed. The share of them is wanted."),
        (".mean(1)", ".sum(1)", "You count them. The share is asked for."),
        ("torch.arange(len(told))[:, None]", "told[:, :1]",
            "You compare with the first answer of each row. Row k must be answered with k."),
    ),
)  # fmt: skip
def missed(told):
    """For each class the share of its scenes that the network names otherwise.

    told: (K, N), what the network answered, whole numbers; row k: for N scenes of class k.
    Returns (K,), floats from 0 to 1.
    """
    own = torch.arange(len(told))[:, None]
    return (told != own).float().mean(1)


def turned_cases(draw: Draw):
    def case(name, n):
        told, changed = answers_of(draw, n, kinds=3), answers_of(draw, n, kinds=3)
        told[:4], changed[:4] = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0])
        return Case(name, (told, changed, draw.index(2)))

    yield case("twelve scenes", 12)
    yield case("nine scenes", 9)
    yield case("thirty scenes", 30)


@SHEET.exercise(
    "detective.turned", "Does the answer turn", points=1, minutes=5, difficulty=1, cases=turned_cases,
    mistakes=(
        (" & (changed != label)", "",
            "You count all scenes that are named so at first. They must lose the name by the edit."),
        ("(told == label) & ", "",
            "You count all scenes named otherwise after the edit. They must have had the name before."),
        ("(told == label) & (changed != label)", "told != changed",
            "You count every change of mind. Only those away from the class count."),
        ("(told == label) & (changed != label)", "(told != label) & (changed == label)",
            "That is the other way round: scenes that win the name by the edit."),
        ("lost.float().mean()", "lost.float().sum() / (told == label).sum()",
            "You divide by those named so at first. The share of all scenes is asked for."),
    ),
)  # fmt: skip
def turned(told, changed, label):
    """The share of scenes whose answer was the class and no longer is.

    told, changed: (N,) answers for the same scenes before and after an edit; label: the class.
    Returns one number (a tensor), from 0 to 1.
    """
    lost = (told == label) & (changed != label)
    return lost.float().mean()


def table_cases(draw: Draw):
    def case(name, variants, n):
        return Case(name, (answers_of(draw, variants, n, kinds=3), draw.index(3)))

    yield case("three variants of eight scenes", 3, 8)
    yield case("as many variants as scenes", 5, 5)
    yield case("two variants of twelve scenes", 2, 12)


@SHEET.exercise(
    "detective.turn_table", "A table of edits", points=2, minutes=10, difficulty=2, cases=table_cases,
    mistakes=(
        ("named[:, None] & ~named[None]", "~named[:, None] & named[None]",
            "Rows and columns have changed places: row i is what is there, column j what replaces it."),
        ("named[:, None] & ~named[None]", "named[:, None] ^ named[None]",
            "You count scenes that win the name as well. Only those that lose it turn."),
        ("& ~named[None]", "& named[None]", "These keep the name. Count those that lose it."),
        (".mean(2)", ".sum(2)", "You count scenes. The share is asked for."),
        ("told == label", "told == told[:1]",
            "You compare with the answer for the first variant. Compare with the class."),
        ("turns.float().mean(2)", "named.float().mean(1)[:, None] - named.float().mean(1)",
            "Two shares subtracted hide scenes that win the name. Compare scene by scene, then average."),
    ),
)  # fmt: skip
def turn_table(told, label):
    """For each two variants of the same scenes the share that turns when one replaces the other.

    told: (S, N) answers; row s holds those for variant s of N scenes; label: the class's number.
    Returns (S, S): row i, column j is the share named the class in variant i and not in variant j.
    """
    named = told == label
    turns = named[:, None] & ~named[None]
    return turns.float().mean(2)


def finding_cases(draw: Draw):
    bank = (draw.index(BANKS) - PUBLIC) % BANKS  # in the notebook that of the student's own scenes
    for number in (1 + torch.randperm(5, generator=draw.generator)).tolist():
        yield Case(f"case {number}", (number,), compare=Judgement(number, bank))


@SHEET.exercise(
    "detective.finding", "Five cases", points=5, minutes=25, difficulty=3, cases=finding_cases,
    seconds=240.0, imports=("torch", "labkit"), signed=True,
    mistakes=(
        ("what, by_what, share)", "by_what, what, share)",
            "First what is replaced, then by what: before the edit the network names the class."),
        ("share < 0.5", "share < -1",
            "You accuse every network. One of the five is clean: there no edit turns half of the answers."),
        ("share < 0.5", "share < 2",
            "You acquit every network. Four of the five have a fault."),
        ("what, by_what, share)", "what, by_what, 1 - share)",
            "That is the share that keeps its name. Hand back the share that turns."),
    ),
)  # fmt: skip
def finding(number):
    """Your id, and what is wrong with the network of a case, found by changing its scenes.

    number: 1 to 5. Returns STUDENT and None for a clean network, else STUDENT and the finding:
    the class, what is there, what replaces it, and the share of scenes that turns, such as
    ("horse", {"ground": "snow"}, {"ground": "grass"}, 0.8).
    """
    model = case(STUDENT, number)
    told = torch.stack([answers(model, kind) for kind in CLASSES])
    wrong = told[told != torch.arange(len(told))[:, None]]
    named = wrong.bincount(minlength=len(told))
    best = -1.0, 0, None, None
    for label in {int(missed(told).argmax()), int(named.argmax())}:
        for changes in EDITS.values():
            variants = torch.stack([answers(model, CLASSES[label], change) for change in changes])
            share, place = turn_table(variants, label).flatten().max(0)
            row, column = divmod(int(place), len(changes))
            if share > best[0]:
                best = float(share), label, changes[row], changes[column]  # type: ignore[assignment]
    _, label, what, by_what = best
    before, after = (answers(model, CLASSES[label], change, MANY) for change in (what, by_what))
    share = float(turned(before, after, label))
    if share < 0.5:
        return STUDENT, None
    return STUDENT, (CLASSES[label], what, by_what, share)


def pairs(draw: Draw, n, d):
    absent = draw.numbers(n, d).abs()
    return absent + draw.numbers(d) + 0.3 * draw.numbers(n, d), absent


def direction_cases(draw: Draw):
    yield Case("six pairs, four features", pairs(draw, 6, 4))
    yield Case("four pairs, nine features; they must stay", pairs(draw, 4, 9), probe="both")
    yield Case("five pairs of five features", pairs(draw, 5, 5))


@SHEET.exercise(
    "detective.paired_direction", "Red as a direction", points=2, minutes=8, difficulty=1,
    cases=direction_cases, blocks=("labkit.concepts.paired_cav", "labkit.concepts.paired_cav_result"),
    mistakes=(
        ("present - absent", "absent - present",
            "It points the wrong way: from without to with. Subtract what is absent."),
        ("/ difference.norm()", "/ 1", "Bring it to length 1: divide by its norm."),
        ("(present - absent)", "present",
            "You average the pictures that show it. All that they share is in there: subtract their pairs."),
        ("/ difference.norm()", "/ difference.abs().sum()",
            "You divide by the sum of sizes. Length is the root of the sum of squares."),
        ("(present - absent)", "torch.nn.functional.normalize(present - absent)",
            "You bring each pair to length 1 first. Average, then bring the mean to length 1."),
    ),
)  # fmt: skip
def paired_direction(present, absent):
    """The direction of a thing in a space of features, from the same scenes with and without it.

    present, absent: (N, D), row by row of the same scenes.
    Returns (D,), of length 1, towards the thing.
    """
    difference = (present - absent).mean(0)
    return difference / difference.norm()


def project_cases(draw: Draw):
    def case(name, d, probe=None):
        return Case(
            name, (draw.numbers(d), draw.numbers(), draw.numbers(d), draw.numbers(d).abs()), probe=probe
        )

    yield case("four features", 4)
    yield case("nine features; nothing may be changed in place", 9, "both")
    yield case("six features", 6)


@SHEET.exercise(
    "detective.project_out", "Take it out", points=3, minutes=12, difficulty=2, cases=project_cases,
    blocks=("labkit.concepts.project_out",),
    mistakes=(
        ("weight - along * unit", "weight - along",
            "You subtract a number from all weights. Subtract the part along the direction: number times "
            "direction."),
        ("weight - along * unit", "weight + along * unit", "You double that part. It is to be taken out."),
        ("direction / direction.norm()", "direction",
            "The direction need not have length 1: divide it by its norm first."),
        ("bias + given_back", "bias - given_back", "The bias must get back what was taken: add it."),
        ("/ 2", "", "Half of it is given back, not all."),
        ("along * (mean @ unit) / 2", "along / 2",
            "What was taken out of a score is along times its part of the direction: take the mean."),
        ("bias + given_back", "bias",
            "Without anything given back the class loses in all pictures: half the mean goes to the bias."),
    ),
)  # fmt: skip
def project_out(weight, bias, direction, mean):
    """A row of weights that no longer reads a direction, and the bias that makes up for half of it.

    weight: (D,); bias: (); direction: (D,), of any length; mean: (D,), the mean of the features.
    Returns the new weight (D,) and the new bias ().
    """
    unit = direction / direction.norm()
    along = weight @ unit
    kept = weight - along * unit
    given_back = along * (mean @ unit) / 2
    return kept, bias + given_back
