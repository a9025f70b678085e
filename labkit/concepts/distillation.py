"""Distillation: does a simple model stand in for the network? A tree, a linear model, a small network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_fraction, check_positive
from labkit.core.door import seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.statistics import Interval, share

__all__ = ["Distilled", "concept_shares", "distill", "distill_result"]

KINDS = ("tree", "linear", "network")


class Distilled(NamedTuple):
    """``fidelity``: the share of held-out pictures on which the student answers as the teacher, with its
    Wilson interval; ``student``: scikit-learn's tree or linear model, or the small network; ``predict``: its
    answers (N,) to rows like those it was taught; ``held_out``: the numbers of the rows it never saw."""

    fidelity: Interval
    student: Any
    predict: Callable[[Tensor], Int[Tensor, " N"]]
    held_out: Int[Tensor, " M"]


def concept_shares(maps: Int[Tensor, "N H W"], count: int) -> Float[Tensor, "N K"]:
    """The share of each picture's pixels that a label map gives to each of ``count`` concepts.

    ``maps``: whole numbers from 0 (none of them) to ``count``; column k is the concept k + 1. Raises
    ValueError for another shape and for a label beyond ``count``.

    Unit: share of the picture. Labels: post hoc, agnostic, local. Source: no paper.

    >>> concept_shares(torch.tensor([[[0, 2], [2, 1]]]), 3)
    tensor([[0.2500, 0.5000, 0.0000]])
    """
    check_positive("count", count)
    labels = torch.as_tensor(maps)
    if labels.ndim != 3 or labels.is_floating_point():
        raise ValueError(
            "maps must be whole numbers of the shape (N, H, W), a label a pixel; "
            f"got {tuple(labels.shape)} of {labels.dtype}."
        )
    flat = labels.flatten(1).long()
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) <= count:
        raise ValueError(
            f"maps must hold labels from 0 to count, {count}; got {int(flat.min())} to {int(flat.max())}."
        )
    found = torch.zeros(len(flat), count + 1)
    found.scatter_add_(1, flat, torch.ones(flat.shape))
    return found[:, 1:] / flat.shape[1]


def distill_result(
    rows: Float[Tensor, "N D"] | Float[Tensor, "N C H W"],
    answers: Int[Tensor, " N"],
    *,
    kind: str = "tree",
    depth: int = 6,
    held_out: float = 0.5,
    epochs: int = 30,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Distilled:
    """As ``distill``, with the student itself, the interval of its fidelity and the rows held out."""
    check_choice("kind", kind, KINDS)
    check_positive("depth", depth)
    check_positive("epochs", epochs)
    check_fraction("held_out", held_out)
    given, wanted = torch.as_tensor(rows).detach().cpu().float(), torch.as_tensor(answers).detach().cpu()
    dims, shape = (4, "(N, C, H, W), pictures") if kind == "network" else (2, "(N, D), a row a picture")
    if given.ndim != dims:
        raise ValueError(f"rows must have the shape {shape}, for kind={kind!r}; got {tuple(given.shape)}.")
    if wanted.shape != given.shape[:1] or wanted.is_floating_point():
        raise ValueError(
            f"answers must be a class a row, {len(given)} whole numbers; got {tuple(wanted.shape)} of "
            f"{wanted.dtype}."
        )
    if not torch.isfinite(given).all():
        raise ValueError("rows must be finite; got NaN or infinity. Leave out what could not be measured.")
    own = seeded(generator)
    count = round(held_out * len(given))
    order = torch.randperm(len(given), generator=own, device=own.device).cpu()
    kept, taught = order[:count].sort().values, order[count:].sort().values
    if not len(kept) or len(wanted[taught].unique()) < 2:
        raise ValueError(
            "answers must name at least two classes among the rows that are taught, and leave some rows to "
            f"hold out; got {len(taught)} rows of {len(wanted[taught].unique())} class and {len(kept)}."
        )
    seed = int(torch.randint(2**31 - 1, (), generator=own, device=own.device))
    if kind == "network":
        student, predict = _network(
            given[taught], wanted[taught], epochs, seed, {"progress": progress, "should_stop": should_stop}
        )
    else:
        student, predict = _table(kind, given[taught], wanted[taught], depth, seed)
    return Distilled(share((predict(given[kept]) == wanted[kept]).numpy()), student, predict, kept)


@signature_of(distill_result)
def distill(*args: Any, **options: Any) -> float:
    """How often a simple student, taught a network's answers, answers as the network on pictures held out.

    ``rows``: what the student sees of each picture: concepts (N, D), such as ``concept_shares`` gives, or for
    the small network the pictures themselves.
    ``answers``: the class that the network names for each. With the true classes the student is no stand-in
    but a model of its own, and the same number its accuracy.
    ``kind``: "tree" (a decision tree of at most ``depth`` questions), "linear" (logistic regression on rows
    of spread 1), "network" (three convolutions, the mean over places, a linear layer; ``epochs`` of Adam).
    ``held_out``: the share of pictures that it is not taught, drawn by ``generator`` (None: seed 0).

    Fidelity says nothing of how the network works: where most answers are right, a student taught the truth
    reaches it as well. Compare the two where the network is wrong. Raises ValueError for rows and answers of
    other shapes, rows that are not finite, fewer than two classes, and an unknown kind.

    Unit: share of pictures. Labels: post hoc, agnostic, global.
    Source: Craven and Shavlik 1996, "Extracting Tree-Structured Representations of Trained Networks"; Hinton
    et al. 2015, "Distilling the Knowledge in a Neural Network" (the small network, here taught classes only).

    >>> rows = torch.rand(200, 3)
    >>> distill(rows, (rows[:, 1] > 0.5).long(), depth=1) > 0.95
    True
    """
    return distill_result(*args, **options).fidelity.value


def _table(
    kind: str, rows: Float[Tensor, "N D"], answers: Int[Tensor, " N"], depth: int, seed: int
) -> tuple[Any, Callable[[Tensor], Tensor]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    student: Any = DecisionTreeClassifier(max_depth=depth, random_state=seed)
    if kind == "linear":
        student = make_pipeline(StandardScaler(), LogisticRegression(C=10.0, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that was cut short shows in its fidelity
        student.fit(rows.double().numpy(), answers.numpy())

    def predict(new: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(student.predict(new.detach().cpu().double().numpy())))

    return student, predict


def _network(
    images: Float[Tensor, "N C H W"],
    answers: Int[Tensor, " N"],
    epochs: int,
    seed: int,
    watch: dict[str, Any],
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    classes, targets = answers.unique(return_inverse=True)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inside, outside in ((images.shape[1], 16), (16, 24), (24, 32)):
            layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.ReLU()]
        student = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(classes)))
        optimizer = torch.optim.Adam(student.parameters(), 0.01)
        with working("teaching the student", epochs, "epoch", **watch) as work:
            for epoch in range(epochs):
                if work.stopped():
                    break
                for part in torch.randperm(len(images)).split(64):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(student(images[part]), targets[part]).backward()
                    optimizer.step()
                work.at(epoch + 1)
    student.eval().requires_grad_(False)

    def predict(new: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([classes[student(part).argmax(1)] for part in new.float().split(256)])

    return student, predict
