"""Controls: what could explain a finding away, written once for all labs."""

from labkit.evaluation.controls.maps import centre_map, control_maps, edge_map, random_map

__all__ = ["centre_map", "control_maps", "edge_map", "random_map"]
