"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method
from labkit.visualization.activation_maximization import RECIPES, visualize, visualize_result
from labkit.visualization.ascent import Visualization

METHODS: dict[str, Method] = {
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

__all__ = ["METHODS", "RECIPES", "Visualization", "visualize", "visualize_result"]
