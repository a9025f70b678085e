"""Pictures made from features: inversion, and later dreams, textures and styles."""

from labkit.style.inversion import Inversion, invert, invert_result

__all__ = ["Inversion", "invert", "invert_result"]
