"""Functions on tensors. Imports torch and nothing of OpenMMLab."""

from .bands import join_bands, split_bands
from .depthwise_conv import depthwise_conv
from .gate import silu_gate
from .gather_rows import gather_rows
from .grouped_nms import grouped_nms
from .layer_norm import add_layer_norm, layer_norm
from .routes import (
    REVERSED,
    cover,
    expand_routes,
    list_route_sets,
    list_routes,
    register_route,
    register_route_set,
    route,
    route_table,
)
from .selective_scan import (
    BackendError,
    projected_scan,
    projected_states,
    selective_scan,
    sparing_memory,
)
from .state_fusion import fuse_states
from .two_way_conv import two_way_conv_silu

__all__ = [
    "REVERSED",
    "BackendError",
    "add_layer_norm",
    "cover",
    "depthwise_conv",
    "expand_routes",
    "fuse_states",
    "gather_rows",
    "grouped_nms",
    "join_bands",
    "layer_norm",
    "list_route_sets",
    "list_routes",
    "projected_scan",
    "projected_states",
    "register_route",
    "register_route_set",
    "route",
    "route_table",
    "selective_scan",
    "silu_gate",
    "sparing_memory",
    "split_bands",
    "two_way_conv_silu",
]
