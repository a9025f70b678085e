"""What has the network learned? Filters, activations, the space of features, and pictures made for a unit."""

from labkit.core.registry import Method

METHODS: dict[str, Method] = {}

__all__ = ["METHODS"]
