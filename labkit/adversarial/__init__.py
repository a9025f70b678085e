"""Pictures made to be misread: attacks on networks, and what stands against them."""

from labkit.adversarial.attacks import Attack, fgsm, fgsm_result
from labkit.adversarial.black_box import (
    LabelsOnly,
    Substitute,
    Transfer,
    substitute,
    substitute_result,
    transfer_matrix,
    transfer_matrix_result,
)
from labkit.adversarial.defenses import HotSoftmax, Quantized
from labkit.adversarial.iterative import (
    Minimal,
    Pgd,
    minimal_perturbation,
    minimal_perturbation_result,
    pgd,
    pgd_result,
)
from labkit.adversarial.patches import (
    Patch,
    Placing,
    adversarial_patch,
    adversarial_patch_result,
)
from labkit.core.registry import Method

METHODS: dict[str, Method] = {
    "adversarial_patch": Method(
        adversarial_patch,
        "Adversarial patch",
        "Brown et al. 2017",
        {"side": 8, "steps": 2, "batch": 2},
        takes=("model", "bank", "one target"),
        gives="patches",
        dead="any",
        amplifies=True,
        scope="global",
    ),
    "fgsm": Method(
        fgsm,
        "FGSM",
        "Goodfellow, Shlens and Szegedy 2015",
        takes=("model", "pictures", "labels"),
        gives="pictures",
        dead="warns",
        amplifies=True,
    ),
    "minimal_perturbation": Method(
        minimal_perturbation,
        "the smallest perturbation",
        "Szegedy et al. 2014",
        {"halvings": 2, "steps": 3},
        takes=("model", "pictures", "true labels"),
        gives="pictures",
        dead="warns",
        amplifies=True,
    ),
    "pgd": Method(
        pgd,
        "PGD",
        "Madry et al. 2018",
        {"steps": 3},
        takes=("model", "pictures", "labels"),
        gives="pictures",
        dead="warns",
        amplifies=True,
    ),
    "substitute": Method(
        substitute,
        "substitute",
        "Papernot et al. 2017",
        {"rounds": 1, "epochs": 1},
        takes=("box", "bank", "network"),
        gives="network",
        dead="any",
        models="agnostic",
        scope="global",
    ),
    "transfer_matrix": Method(
        transfer_matrix,
        "transfer",
        "Szegedy et al. 2014",
        {"steps": 2},
        takes=("sources", "targets", "pictures", "labels"),
        gives="rows",
        dead="any",
        amplifies=True,
        scope="global",
    ),
}

__all__ = [
    "METHODS",
    "Attack",
    "HotSoftmax",
    "LabelsOnly",
    "Minimal",
    "Patch",
    "Pgd",
    "Placing",
    "Quantized",
    "Substitute",
    "Transfer",
    "adversarial_patch",
    "adversarial_patch_result",
    "fgsm",
    "fgsm_result",
    "minimal_perturbation",
    "minimal_perturbation_result",
    "pgd",
    "pgd_result",
    "substitute",
    "substitute_result",
    "transfer_matrix",
    "transfer_matrix_result",
]
