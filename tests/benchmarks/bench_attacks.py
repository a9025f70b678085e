"""How long FGSM and PGD take beside torchattacks and foolbox, at equal steps and batch, in one run.

    python -m pytest -n0 -s tests/benchmarks/bench_attacks.py

The same pictures, labels, ball, step and number of steps, from the picture itself; that the results are the
same is looked at first. The two take turns; the median ratio is printed and held against a bound. Skipped
where a peer is not installed (pip install torchattacks foolbox); not run with the other tests.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import pytest
import torch
from bench_occlusion import network
from bench_peers import ratio
from torch import Tensor

from labkit.adversarial import fgsm, pgd

NETWORKS = os.environ.get("NETWORKS", "minivgg,squeezenet1_1").split(",")
BATCH, STEPS, EPSILON = int(os.environ.get("BATCH", "8")), 10, 8 / 255
STRIDE = 2.5 * EPSILON / STEPS
MOST = 1.1  # of the peer's time
Attack = Callable[[], Tensor]


def torchattacks_of(model, images: Tensor, labels: Tensor) -> dict[str, Attack]:
    peer = pytest.importorskip("torchattacks")
    single = peer.FGSM(model, eps=EPSILON)
    many = peer.PGD(model, eps=EPSILON, alpha=STRIDE, steps=STEPS, random_start=False)
    return {"FGSM": lambda: single(images, labels), "PGD": lambda: many(images, labels)}


def foolbox_of(model, images: Tensor, labels: Tensor) -> dict[str, Attack]:
    peer = pytest.importorskip("foolbox")
    seen = peer.PyTorchModel(model, bounds=(0, 1), device="cpu")
    single = peer.attacks.LinfFastGradientAttack(random_start=False)
    many = peer.attacks.LinfPGD(abs_stepsize=STRIDE, steps=STEPS, random_start=False)
    return {
        "FGSM": lambda: single(seen, images, labels, epsilons=EPSILON)[1],
        "PGD": lambda: many(seen, images, labels, epsilons=EPSILON)[1],
    }


PEERS = {"torchattacks": torchattacks_of, "foolbox": foolbox_of}


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_attack_takes_at_most_a_tenth_longer_than_its_peer(name: str, peer: str, attack: str) -> None:
    warnings.simplefilter("ignore")
    model, side = network(name)
    images = torch.rand(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = model(images).argmax(1)
    theirs = PEERS[peer](model, images, labels)[attack]
    given = {"epsilon": EPSILON, "steps": STEPS, "step": STRIDE, "random_start": False}

    def ours() -> Tensor:
        if attack == "FGSM":
            return fgsm(model, images, labels, epsilon=EPSILON)
        return pgd(model, images, labels, **given)

    mine, yours = ours(), theirs()
    same = ((mine - yours).abs() < 1e-5).float().mean()
    found = ratio(ours, theirs)
    print(
        f"{name}: {attack} takes {found:.2f} of {peer}'s time; {float(same):.3f} of the values are the same"
    )
    assert found < MOST
