"""Functions on tensors. Imports torch and nothing of OpenMMLab."""

from .routes import list_routes, register_route, route, route_table
from .selective_scan import BackendError, selective_scan

__all__ = ["BackendError", "list_routes", "register_route", "route", "route_table", "selective_scan"]
