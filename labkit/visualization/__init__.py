"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method
from labkit.visualization.intrinsic_dimensions import (
    Dimension,
    intrinsic_dimension,
    intrinsic_dimension_result,
)
from labkit.visualization.learned_projections import DeepMDS, deep_mds, deep_mds_result
from labkit.visualization.neighbors import Neighbors, nearest_neighbors, nearest_neighbors_result
from labkit.visualization.projections import PCA, TSNE, pca, pca_result, tsne, tsne_result

METHODS: dict[str, Method] = {
    "deep_mds": Method(
        deep_mds,
        "DeepMDS",
        "Gong, Boddeti and Jain 2019",
        {"steps": 4},
        takes=("features",),
        gives="points",
        models="agnostic",
        scope="global",
        amplifies=True,
    ),
    "intrinsic_dimension": Method(
        intrinsic_dimension,
        "Intrinsic dimension",
        "Levina and Bickel 2004",
        {"draws": 1},
        takes=("features",),
        gives="number",
        models="agnostic",
        scope="global",
    ),
    "nearest_neighbors": Method(
        nearest_neighbors,
        "Nearest neighbours",
        "Cover and Hart 1967",
        takes=("features",),
        gives="rows",
        models="agnostic",
        scope="global",
    ),
    "pca": Method(
        pca,
        "PCA",
        "Pearson 1901",
        takes=("features",),
        gives="points",
        models="agnostic",
        scope="global",
    ),
    "tsne": Method(
        tsne,
        "t-SNE",
        "van der Maaten and Hinton 2008",
        {"perplexity": 5, "early_steps": 4, "steps": 4},
        takes=("features",),
        gives="points",
        models="agnostic",
        scope="global",
        amplifies=True,
    ),
}

__all__ = [
    "METHODS",
    "PCA",
    "TSNE",
    "DeepMDS",
    "Dimension",
    "Neighbors",
    "deep_mds",
    "deep_mds_result",
    "intrinsic_dimension",
    "intrinsic_dimension_result",
    "nearest_neighbors",
    "nearest_neighbors_result",
    "pca",
    "pca_result",
    "tsne",
    "tsne_result",
]
