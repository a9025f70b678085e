"""Pictures made to be misread: attacks on networks, and what stands against them."""

from labkit.adversarial.attacks import Attack, fgsm, fgsm_result

__all__ = ["Attack", "fgsm", "fgsm_result"]
