"""Pictures made from features: inversion, and later dreams, textures and styles."""

from labkit.core.registry import Method
from labkit.style.inversion import Inversion, invert, invert_result

METHODS: dict[str, Method] = {
    "invert": Method(
        invert,
        "Inversion",
        "Mahendran and Vedaldi 2015",
        {"steps": 4},
        takes=("model", "layer", "features", "side"),
        gives="pictures",
        needs=("colour",),
        dead="any",
        amplifies=True,
    ),
}

__all__ = ["METHODS", "Inversion", "invert", "invert_result"]
