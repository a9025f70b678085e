"""What a notebook imports: ``from labkit.lab import claim, start``."""

from labkit.app.lab import Lab, claim, start
from labkit.data import Scenes, gather

__all__ = ["Lab", "Scenes", "claim", "gather", "start"]
