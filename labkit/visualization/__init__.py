"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method
from labkit.visualization.activations import activation_grid
from labkit.visualization.concept_packing import Packing, packing, packing_result
from labkit.visualization.guided import guided_patches
from labkit.visualization.patches import TopPatches, top_patches, top_patches_result

METHODS: dict[str, Method] = {
    "activation_grid": Method(
        activation_grid,
        "Activation grid",
        "Yosinski et al. 2015",
        takes=("model", "pictures", "layer"),
        gives="activations",
        dead="any",
    ),
    "guided_patches": Method(
        guided_patches,
        "Guided patches",
        "Springenberg et al. 2015",
        {"count": 2},
        takes=("model", "many", "layer"),
        gives="patches",
        needs=("relu",),
        dead="any",
        scope="global",
    ),
    "packing": Method(
        packing,
        "Packing",
        "Bau et al. 2017",
        takes=("maps", "labels"),
        gives="weights",
        models="agnostic",
        scope="global",
    ),
    "top_patches": Method(
        top_patches,
        "Top patches",
        "Zhou et al. 2015",
        {"count": 2},
        takes=("model", "many", "layer"),
        gives="patches",
        dead="any",
        scope="global",
    ),
}

__all__ = [
    "METHODS",
    "Packing",
    "TopPatches",
    "activation_grid",
    "guided_patches",
    "packing",
    "packing_result",
    "top_patches",
    "top_patches_result",
]
