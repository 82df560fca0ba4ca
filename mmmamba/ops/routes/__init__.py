"""In which order the cells of a map are visited: index tables over row-major positions.

A route is a pure function of the map's height and width that returns the visited positions in
order, `(T,)` int64; -1 is a hole, a step on padding. It visits no position twice. Register one with
`@register_route("name")`; every route also exists walked backwards, as `"name_reversed"`.
"""

from . import atrous, centred, fractal, hilbert, lines, scales, windows
from .derived import MOVES, joined_visit_table, move_table, visit_table
from .registry import (
    _EXACT,
    REVERSED,
    cover,
    list_routes,
    register_route,
    register_sized_route,
    route,
    route_table,
)
from .sets import expand_routes, list_route_sets, register_route_set

__all__ = [
    "MOVES",
    "REVERSED",
    "_EXACT",
    "atrous",
    "centred",
    "cover",
    "expand_routes",
    "fractal",
    "hilbert",
    "joined_visit_table",
    "lines",
    "list_route_sets",
    "list_routes",
    "move_table",
    "register_route",
    "register_route_set",
    "register_sized_route",
    "route",
    "route_table",
    "scales",
    "visit_table",
    "windows",
]
