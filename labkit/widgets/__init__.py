"""Explorers to play with beside the code: one widget a file, no mathematics of methods in them.

Importing this package needs ipywidgets and anywidget; the pages they show load nothing from a network.
"""

from labkit.widgets.activation import ActivationExplorer
from labkit.widgets.ascent import AscentExplorer
from labkit.widgets.comparer import Comparer
from labkit.widgets.dissection import DissectionExplorer
from labkit.widgets.dream import DreamExplorer
from labkit.widgets.embedding import EmbeddingExplorer
from labkit.widgets.epsilon import EpsilonExplorer
from labkit.widgets.mask import MaskExplorer
from labkit.widgets.occlusion import OcclusionExplorer
from labkit.widgets.overlay import OverlayExplorer
from labkit.widgets.patch import PatchExplorer
from labkit.widgets.sanity import SanityExplorer
from labkit.widgets.style import StyleExplorer
from labkit.widgets.tcav import TcavExplorer

__all__ = [
    "ActivationExplorer", "AscentExplorer", "Comparer", "DissectionExplorer", "DreamExplorer",
    "EmbeddingExplorer", "EpsilonExplorer", "MaskExplorer", "OcclusionExplorer", "OverlayExplorer",
    "PatchExplorer", "SanityExplorer", "StyleExplorer", "TcavExplorer",
]  # fmt: skip
