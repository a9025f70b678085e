"""Shapley values of a table: a bank with a planted bias, a black box beside a readable model (lab 24)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from tqdm.auto import tqdm

from labkit.core.statistics import Interval, bootstrap
from labkit.data.loans import Loans, loans
from labkit.experiments.bench import Bench


class Bank(NamedTuple):
    """What two models made of a biased bank's decisions.

    ``accuracy`` on new people and ``cost`` of living at the harbour in log odds, a number a model (the cost:
    beside what was planted); ``spread``: column -> mean size of its shares, the global explanation;
    ``refused`` at the harbour, ``elsewhere``: to how many of them the black box grants the same application
    from another address; ``person``: column -> (value, share) of one of these, the local explanation, or of
    anyone at the harbour where ``flips`` is False; ``granted``: who decides -> rates of newcomers and others,
    and the bank's at the harbour alone.
    """

    accuracy: dict[str, float]
    cost: dict[str, float]
    spread: dict[str, Interval]
    refused: int
    elsewhere: int
    person: dict[str, tuple[float, float]]
    flips: bool
    granted: dict[str, tuple[float, float]]

    def overview(self) -> str:
        """How often both models are right, and what living at the harbour costs."""
        right = ", ".join(f"{who} {v:.2f}" for who, v in self.accuracy.items())
        costs = ", ".join(f"{who} {v:.2f}" for who, v in self.cost.items())
        return f"right on new people: {right}\nliving at the harbour, in log odds: {costs}"

    def people(self) -> str:
        """Who is refused at the harbour, one of them column by column, and the rates of both groups."""
        lines = [
            f"refused at the harbour: {self.refused} people; "
            f"the same application from elsewhere is granted to {self.elsewhere} of them",
            "One of them:" if self.flips else "One person at the harbour:",
        ]
        for name, (value, part) in self.person.items():
            bar = ("+" if part > 0 else "-") * round(8 * abs(part))
            lines.append(f"  {name:<17}{value:8.1f}   {part:+.2f}  {bar}")
        lines.append("the table has no column 'newcomer'. Granted to newcomers and to others:")
        lines += [f"  {who:<32}{new:5.0%}{others:5.0%}" for who, (new, others) in self.granted.items()]
        return "\n".join(lines)


def local_shares(
    model: Any,
    people: Float[ndarray, "N M"],
    others: Float[ndarray, "B M"],
    shapley_values: Callable[..., Tensor],
) -> Float[ndarray, "N M"]:
    """Each person's Shapley values, in log odds: an absent cell holds other applicants', one by one."""
    players = people.shape[1]
    taken = np.array([[c >> i & 1 for i in range(players)] for c in range(2**players)], bool)
    shares = []
    for person in tqdm(people, "people", leave=False, delay=1.5):
        rows = np.where(taken[:, None], person, others)  # coalition x other applicant x column
        p = model.predict_proba(rows.reshape(-1, players))[:, 1].clip(1e-6, 1 - 1e-6)
        worth = torch.from_numpy(np.log(p / (1 - p)).reshape(len(taken), -1).mean(1))
        shares.append(shapley_values(worth, players).numpy())
    return np.stack(shares)


def biased_bank(bench: Bench, *, shapley_values: Callable[..., Tensor]) -> Bank:
    """Train a black box and a readable model on a biased bank's decisions, and explain the black box.

    No claim of the lectures: the exercise's function on a table, where the bias is known.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shapley_values(torch.zeros(2, dtype=torch.float64), 1)  # unwritten: say so at once
    data, fresh = loans(1500 if bench.quick else 6000), loans(400, seed=1)
    models = {
        "black box": MLPClassifier((32, 32), alpha=1.0, max_iter=300, random_state=0),
        "glass box": LogisticRegression(),
    }
    black, glass = (make_pipeline(StandardScaler(), m).fit(data.table, data.granted) for m in models.values())
    people = fresh.table[: 8 if bench.quick else 100]
    local = local_shares(black, people, data.table[:60], shapley_values)
    harbour, size = people[:, -1] == 1, np.abs(local)
    there = fresh.table[fresh.table[:, -1] == 1]
    refused = ~black.predict(there)
    flips = refused & black.predict(np.where(np.arange(there.shape[1]) == there.shape[1] - 1, 0, there))
    known = [i for i in np.flatnonzero(harbour) if (there[flips] == people[i]).all(1).any()]
    one = known[0] if known else np.flatnonzero(harbour)[0]
    both = {"black box": black, "glass box": glass}
    values = zip(people[one].tolist(), local[one].tolist(), strict=True)
    person = dict(zip(data.names, values, strict=True))
    decided = {"the bank": fresh.granted} | {name: m.predict(fresh.table) for name, m in both.items()}
    return Bank(
        accuracy={name: float(m.score(fresh.table, fresh.granted)) for name, m in both.items()},
        cost={
            "planted": data.weights["harbour district"],
            "black box": float(local[harbour, -1].mean() - local[~harbour, -1].mean()),
            "glass box": float(glass[-1].coef_[0, -1] / glass[0].scale_[-1]),
        },
        spread={data.names[i]: bootstrap(size[:, i]) for i in size.mean(0).argsort()[::-1]},
        refused=int(refused.sum()),
        elsewhere=int(flips.sum()),
        person={data.names[i]: person[data.names[i]] for i in size[one].argsort()[::-1]},
        flips=bool(known),
        granted=_rates(fresh, decided),
    )


def _rates(people: Loans, decisions: dict[str, ndarray]) -> dict[str, tuple[float, float]]:
    """Who decides -> the share of newcomers and of others to whom a loan is granted."""
    new, here = people.newcomer, people.table[:, -1] == 1
    found = {who: (float(yes[new].mean()), float(yes[~new].mean())) for who, yes in decisions.items()}
    yes = people.granted
    found["the bank, at the harbour alone"] = float(yes[here & new].mean()), float(yes[here & ~new].mean())
    return found
