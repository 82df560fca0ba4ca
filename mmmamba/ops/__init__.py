"""Functions on tensors. Imports torch and nothing of OpenMMLab."""

from .bands import join_bands, split_bands
from .best import best
from .cosine_filter import cosine_filter, stretch_filter
from .deformable_sampling import deformable_sampling
from .depthwise_conv import depthwise_conv
from .gate import silu_gate
from .gather_rows import gather_rows, gather_sums
from .grouped_nms import grouped_nms
from .layer_norm import add_layer_norm, layer_norm
from .linear_attention import linear_attention
from .norm_gate import norm_gate
from .product_norm import product_norm
from .roi_align import pyramid_roi_align
from .routes import (
    MOVES,
    REVERSED,
    cover,
    expand_routes,
    joined_visit_table,
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
    projected_states,
    selective_scan,
    sparing_memory,
)
from .spectrum import add_spectrum
from .state_fusion import fuse_states
from .state_sum import state_sum
from .two_way_conv import two_way_conv_silu
from .upsample_add import upsample_add

__all__ = [
    "MOVES",
    "REVERSED",
    "BackendError",
    "add_layer_norm",
    "add_spectrum",
    "best",
    "carried_scan",
    "cosine_filter",
    "cover",
    "deformable_sampling",
    "depthwise_conv",
    "expand_routes",
    "fuse_states",
    "gather_rows",
    "gather_sums",
    "grouped_nms",
    "join_bands",
    "joined_visit_table",
    "layer_norm",
    "linear_attention",
    "list_route_sets",
    "list_routes",
    "move_table",
    "norm_gate",
    "product_norm",
    "projected_scan",
    "projected_states",
    "pyramid_roi_align",
    "register_route",
    "register_route_set",
    "route",
    "route_table",
    "selective_scan",
    "silu_gate",
    "sparing_memory",
    "split_bands",
    "state_sum",
    "stretch_filter",
    "two_way_conv_silu",
    "upsample_add",
    "visit_table",
]
