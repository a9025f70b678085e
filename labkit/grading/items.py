"""The item analysis: which exercise, and which misconception in it, cost the class most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from labkit.checking.judge import ExerciseResult
from labkit.grading.rows import Row

__all__ = ["Item", "Mistake", "item_analysis"]


MOST_NAMED = 5


@dataclass
class Mistake:
    """A recognised misconception: its hint, how many made it, and what they lost on the exercise."""

    name: str
    hint: str
    count: int = 0
    lost: float = 0.0


@dataclass
class Item:
    """One exercise over all who handed something in; ``words`` counts their results."""

    id: str
    title: str
    students: int = 0
    points: float = 0.0
    out_of: float = 0.0
    words: Counter[str] = field(default_factory=Counter)
    recognised: dict[str, Mistake] = field(default_factory=dict)
    who: dict[str, list[str]] = field(default_factory=dict)

    def students_of(self, word: str) -> str:
        """The students behind a word, five at most by name; of those who are right none is named."""
        names = self.who.get(word, []) if word != "right" else []
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return ", ".join(names[:MOST_NAMED]) + more

    def add(self, result: ExerciseResult, student: str = "") -> None:
        """Count one student's result in."""
        if student:
            self.who.setdefault(result.word, []).append(student)
        self.students += 1
        self.points += result.points
        self.out_of += result.out_of
        self.words[result.word] += 1
        if result.misconception:
            name = result.misconception
            mistake = self.recognised.setdefault(name, Mistake(name, result.hint))
            mistake.count += 1
            mistake.lost = round(mistake.lost + result.out_of - result.points, 2)

    @property
    def lost(self) -> float:
        """The points that the class has not got."""
        return round(self.out_of - self.points, 2)

    @property
    def share(self) -> float:
        """The mean share of the points, 0 to 1."""
        return self.points / self.out_of if self.out_of else 0.0

    @property
    def mistakes(self) -> list[Mistake]:
        """The recognised ones, the costliest first."""
        return sorted(self.recognised.values(), key=lambda mistake: -mistake.lost)


def item_analysis(rows: Iterable[Row]) -> list[Item]:
    """An item per exercise, the costliest first, counted over the students who handed something in."""
    items: dict[str, Item] = {}
    for row in rows:
        for result in row.exercises if row.status != "missing" else ():
            items.setdefault(result.id, Item(result.id, result.title)).add(result, row.student)
    return sorted(items.values(), key=lambda item: -item.lost)
