"""Functions on tensors. Imports torch and nothing of OpenMMLab."""

from .bands import join_bands, split_bands
from .deformable_sampling import deformable_sampling
from .depthwise_conv import depthwise_conv
from .gate import silu_gate
from .gather_rows import gather_rows
from .grouped_nms import grouped_nms
from .layer_norm import add_layer_norm, layer_norm
from .routes import (
    MOVES,
    REVERSED,
    cover,
    expand_routes,
    list_route_sets,
    list_routes,
    move_table,
    register_route,
    register_route_set,
    route,
    route_table,
    visit_table,
)
from .selective_scan import (
    BackendError,
    carried_scan,
    projected_scan,
    selective_scan,
    sparing_memory,
)
from .two_way_conv import two_way_conv_silu

__all__ = [
    "MOVES",
    "REVERSED",
    "BackendError",
    "add_layer_norm",
    "carried_scan",
    "cover",
    "deformable_sampling",
    "depthwise_conv",
    "expand_routes",
    "gather_rows",
    "grouped_nms",
    "join_bands",
    "layer_norm",
    "list_route_sets",
    "list_routes",
    "move_table",
    "projected_scan",
    "register_route",
    "register_route_set",
    "route",
    "route_table",
    "selective_scan",
    "silu_gate",
    "sparing_memory",
    "split_bands",
    "two_way_conv_silu",
    "visit_table",
]
