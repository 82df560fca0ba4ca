"""Functions on tensors. Imports torch and nothing of OpenMMLab."""

from .routes import (REVERSED, expand_routes, list_route_sets, list_routes, register_route, register_route_set, route,
                     route_table)
from .selective_scan import BackendError, selective_scan

__all__ = [
    "REVERSED", "BackendError", "expand_routes", "list_route_sets", "list_routes", "register_route",
    "register_route_set", "route", "route_table", "selective_scan",
]
