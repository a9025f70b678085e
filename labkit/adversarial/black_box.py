"""Attacks without the weights: transfer from network to network, and a substitute taught by answers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.adversarial.attacks import slope_of_loss
from labkit.adversarial.iterative import pgd_result
from labkit.core.checks import check_images, check_positive
from labkit.core.door import own_copy, seeded
from labkit.core.hooks import borrow
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.training import Recipe, fit

__all__ = [
    "LabelsOnly",
    "Substitute",
    "Transfer",
    "substitute",
    "substitute_result",
    "transfer_matrix",
    "transfer_matrix_result",
]

Answer = Callable[[Float[Tensor, "N C H W"]], Int[Tensor, " N"]]


class LabelsOnly:
    """A black box: it names the class of each picture, says no more, and counts what it was asked.

    >>> box = LabelsOnly(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval())
    >>> box(torch.rand(3, 3, 2, 2)).shape, box.queries
    (torch.Size([3]), 3)
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.queries = 0

    def __call__(self, images: Float[Tensor, "N C H W"]) -> Int[Tensor, " N"]:
        self.queries += len(images)
        with borrow(self._model), torch.no_grad():
            return self._model(own_copy(self._model, images)).argmax(1).cpu()


class Transfer(NamedTuple):
    """``errors`` (S, T): the share of pictures made on network s that network t misreads, of those that t
    named rightly before; ``images`` (S, N, C, H, W); ``counts`` (T,): of how many pictures."""

    errors: Float[Tensor, "S T"]
    images: Float[Tensor, "S N C H W"]
    counts: Int[Tensor, " T"]


class Substitute(NamedTuple):
    """``model``: the network taught; ``images`` (M, C, H, W) it was taught by, with the box's ``labels``
    (M,); ``queries``: how many of the box's answers were used after each round; ``losses`` of each."""

    model: nn.Module
    images: Float[Tensor, "M C H W"]
    labels: Int[Tensor, " M"]
    queries: list[int]
    losses: list[float]


def _named(model: nn.Module, images: Tensor) -> Int[Tensor, " N"]:
    return LabelsOnly(model)(images)


def transfer_matrix_result(
    sources: Mapping[str, nn.Module],
    targets: Mapping[str, nn.Module],
    images: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    *,
    epsilon: float = 8 / 255,
    steps: int = 10,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Transfer:
    """``transfer_matrix`` with the pictures and how many counted (see ``Transfer``). Errors as there.

    >>> nets = {name: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval() for name in "ab"}
    >>> labels = nets["a"](torch.zeros(4, 3, 2, 2)).argmax(1)
    >>> transfer_matrix_result(nets, nets, torch.zeros(4, 3, 2, 2), labels, steps=2).errors.shape
    torch.Size([2, 2])
    """
    check_images(images)
    if not sources or not targets:
        raise ValueError("sources and targets must name at least one network each.")
    labels = torch.as_tensor(labels).cpu()
    right = {name: _named(model, images) == labels for name, model in targets.items()}
    made, errors = [], []
    with working("transfer", len(sources), "network", progress=progress) as work:
        for done, model in enumerate(sources.values(), 1):
            found = pgd_result(
                model, images, labels, epsilon=epsilon, steps=steps, generator=generator,
                progress=lambda share: None,
            )  # fmt: skip
            made.append(found.images.cpu())
            row = []
            for name, other in targets.items():
                wrong = _named(other, found.images) != labels
                counted = right[name]
                row.append(float(wrong[counted].float().mean()) if counted.any() else float("nan"))
            errors.append(row)
            work.at(done)
    return Transfer(
        torch.tensor(errors), torch.stack(made), torch.tensor([int(r.sum()) for r in right.values()])
    )


@signature_of(transfer_matrix_result)
def transfer_matrix(*args: Any, **options: Any) -> Float[Tensor, "S T"]:
    """How often pictures made to fool one network fool another: row the source, column the target.

    ``sources`` and ``targets``: networks by name; on each source ``pgd`` makes the pictures, and each target
    is asked about those that it named rightly before (NaN where it named none). ``labels`` (N,): the true
    classes; ``epsilon``, ``steps``, ``generator``: as of ``pgd``. Errors as there.

    Unit: share of pictures. Labels: post hoc, specific to differentiable sources, global.
    Source: Szegedy et al. 2014, "Intriguing Properties of Neural Networks", section 4.2, tables 2 to 4.

    >>> nets = {name: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval() for name in "ab"}
    >>> labels = nets["a"](torch.zeros(4, 3, 2, 2)).argmax(1)
    >>> transfer_matrix(nets, nets, torch.zeros(4, 3, 2, 2), labels, steps=2).shape
    torch.Size([2, 2])
    """
    return transfer_matrix_result(*args, **options).errors


def substitute_result(
    box: Answer,
    pictures: Float[Tensor, "N C H W"],
    network: Callable[[], nn.Module],
    *,
    rounds: int = 4,
    step: float = 0.1,
    epochs: int = 6,
    rate: float = 3e-3,
    most: int | None = None,
    on_round: Callable[[int, nn.Module], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Substitute:
    """``substitute`` with its pictures, their labels and the number of queries (see ``Substitute``).

    >>> box = LabelsOnly(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval())
    >>> new = lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> substitute_result(box, torch.rand(8, 3, 2, 2), new, rounds=2, epochs=1).queries
    [8, 16]
    """
    check_images(pictures)
    check_positive("rounds", rounds)
    check_positive("epochs", epochs)
    if most is not None:
        check_positive("most", most)
    draw = seeded(generator)
    seed = int(torch.randint(2**31, (), generator=draw))
    shown = pictures.detach().cpu().float()[:most]
    labels = torch.as_tensor(box(shown)).cpu()
    queries, losses = [len(shown)], []
    taught: nn.Module | None = None

    def new(number: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            return network()

    with working("substitute", rounds, "round", progress=progress, should_stop=should_stop) as work:
        for number in range(rounds):
            if work.stopped():
                break
            taught = model = new(number)
            bytes_ = (shown * 255).round().byte().permute(0, 2, 3, 1).numpy()
            recipe = Recipe(
                epochs=epochs, batch=min(64, len(shown)), rate=rate, shift=0, flip=False, seed=seed + number
            )
            losses.append(fit(model, bytes_, labels.numpy(), recipe, bar=False)[-1])
            if on_round is not None:
                on_round(queries[-1], model)
            work.at(number + 1)
            room = len(shown) if most is None else min(len(shown), most - len(shown))
            if number + 1 == rounds or room <= 0:
                break
            chosen = torch.randperm(len(shown), generator=draw)[:room]
            with borrow(model, frozen=True):
                parts = [
                    slope_of_loss(model, own_copy(model, shown[rows]), labels[rows]).gradient.cpu()
                    for rows in chosen.split(64)
                ]
            # the score of the box's label rises where its loss falls
            fresh = (shown[chosen] - step * torch.cat(parts).float().sign()).clamp(0, 1)
            shown = torch.cat([shown, fresh])
            labels = torch.cat([labels, torch.as_tensor(box(fresh)).cpu()])
            queries.append(len(shown))
    return Substitute(new(0) if taught is None else taught, shown, labels, queries, losses)


@signature_of(substitute_result)
def substitute(*args: Any, **options: Any) -> nn.Module:
    """A network taught by a black box's answers alone, to be attacked in its place.

    ``box``: gives the class (N,) of each picture, such as ``LabelsOnly(model)`` or anyone's service.
    ``pictures``: the first ones, of the same world; ``network``: makes a new, untrained one. In each of
    ``rounds`` a new network is taught for ``epochs`` at ``rate``; then every picture takes a step of ``step``
    (picture value) by the sign of its own label's slope, the box names the new pictures, and their number
    doubles, up to ``most`` in all. ``on_round``: told the queries so far and the network. ``generator``: of
    weights and choices (None: seed 0). Raises ValueError for bad numbers and pictures.

    Unit: that of the network's scores. Labels: post hoc, agnostic, global.
    Source: Papernot et al. 2017, "Practical Black-Box Attacks against Machine Learning", section 4; the
    row of their Jacobian, of probabilities, is the slope of the falling loss but for a positive factor.

    >>> box = LabelsOnly(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval())
    >>> new = lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> type(substitute(box, torch.rand(8, 3, 2, 2), new, rounds=1, epochs=1)).__name__
    'Sequential'
    """
    return substitute_result(*args, **options).model
