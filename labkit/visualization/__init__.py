"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method
from labkit.visualization.activation_maximization import RECIPES, visualize, visualize_result
from labkit.visualization.ascent import Visualization
from labkit.visualization.facets import Facets, multifaceted, multifaceted_result
from labkit.visualization.filter_fits import (
    GaborFit,
    OpponentFit,
    gabor_fit,
    gabor_fit_result,
    opponent_fit,
    opponent_fit_result,
)
from labkit.visualization.generator_prior import Dreamed, dgn_am, dgn_am_result
from labkit.visualization.weights import FilterGrid, filter_grid, filter_grid_result

METHODS: dict[str, Method] = {
    "dgn_am": Method(
        dgn_am,
        "Generator prior",
        "Nguyen et al. 2016",
        {"steps": 3},
        takes=("model", "target", "generator"),
        gives="pictures",
        dead="any",
        amplifies=True,
        scope="global",
    ),
    "filter_grid": Method(
        filter_grid,
        "Filter grid",
        "Krizhevsky, Sutskever and Hinton 2012",
        takes=("model", "layer"),
        gives="pictures",
        dead="any",
        when="intrinsic",
        scope="global",
    ),
    "gabor_fit": Method(
        gabor_fit,
        "Gabor fit",
        "Jones and Palmer 1987",
        {"steps": 10},
        takes=("filters",),
        gives="scores",
        dead="any",
        models="agnostic",
        scope="global",
    ),
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
    "opponent_fit": Method(
        opponent_fit,
        "Opponent fit",
        "Livingstone and Hubel 1984",
        {"steps": 10},
        takes=("filters",),
        gives="scores",
        dead="any",
        models="agnostic",
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
    "Dreamed",
    "Facets",
    "FilterGrid",
    "GaborFit",
    "OpponentFit",
    "Visualization",
    "dgn_am",
    "dgn_am_result",
    "filter_grid",
    "filter_grid_result",
    "gabor_fit",
    "gabor_fit_result",
    "multifaceted",
    "multifaceted_result",
    "opponent_fit",
    "opponent_fit_result",
    "visualize",
    "visualize_result",
]
