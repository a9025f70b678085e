"""Pictures made to be misread: attacks on networks, and what stands against them."""

from labkit.adversarial.attacks import fgsm

__all__ = ["fgsm"]
