"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method
from labkit.visualization.activation_maximization import RECIPES, visualize, visualize_result
from labkit.visualization.ascent import Visualization
from labkit.visualization.facets import Facets, multifaceted, multifaceted_result

METHODS: dict[str, Method] = {
    "multifaceted": Method(
        multifaceted,
        "Multifaceted visualization",
        "Nguyen, Yosinski and Clune 2016",
        {"facets": 2, "steps": 2},
        takes=("model", "one target", "bank", "layer"),
        gives="pictures",
        needs=("colour",),
        dead="warns",
        amplifies=True,
        scope="global",
    ),
    "visualize": Method(
        visualize,
        "Activation maximization",
        "Simonyan et al. 2014",
        {"steps": 3, "start": "grey", "colours": None, "channels": 3},
        takes=("model", "target", "count", "side"),
        gives="pictures",
        needs=("colour",),
        dead="warns",
        amplifies=True,
        scope="global",
    ),
}

__all__ = [
    "METHODS",
    "RECIPES",
    "Facets",
    "Visualization",
    "multifaceted",
    "multifaceted_result",
    "visualize",
    "visualize_result",
]
