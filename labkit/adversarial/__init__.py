"""Pictures made to be misread: attacks on networks, and what stands against them."""

from labkit.adversarial.attacks import Attack, fgsm, fgsm_result
from labkit.core.registry import Method

METHODS: dict[str, Method] = {
    "fgsm": Method(
        fgsm,
        "FGSM",
        "Goodfellow, Shlens and Szegedy 2015",
        takes=("model", "pictures", "labels"),
        gives="pictures",
        dead="warns",
        amplifies=True,
    ),
}

__all__ = ["METHODS", "Attack", "fgsm", "fgsm_result"]
