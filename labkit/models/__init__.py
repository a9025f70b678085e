"""Models by name, their layers, and the hooks that borrow them and give them back."""

from labkit.core.hooks import borrow, edit, record
from labkit.core.targets import Score, Target, Unit, class_score, direction, pick, unit
from labkit.models.dataflow import scores
from labkit.models.features import features
from labkit.models.heads import gap_head, last_spatial
from labkit.models.receptive_fields import ReceptiveField, layer_names, layer_shapes, receptive_fields
from labkit.models.tail import Tail, run_from
from labkit.models.zoo import (
    bundled_generators,
    bundled_models,
    bundled_styles,
    list_models,
    load_model,
    wrap_model,
)

__all__ = [
    "ReceptiveField",
    "Score",
    "Tail",
    "Target",
    "Unit",
    "borrow",
    "bundled_generators",
    "bundled_models",
    "bundled_styles",
    "class_score",
    "direction",
    "edit",
    "features",
    "gap_head",
    "last_spatial",
    "layer_names",
    "layer_shapes",
    "list_models",
    "load_model",
    "pick",
    "receptive_fields",
    "record",
    "run_from",
    "scores",
    "unit",
    "wrap_model",
]
