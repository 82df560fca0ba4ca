"""What happens at a cell, given those before it: mixers of a map or a sequence."""

from .attention import Attention, MapAttention
from .bidirectional import BidirectionalMixer
from .es2d import ES2D, SKIP
from .gated_merge import GatedMerge, misplace_columns
from .linear_attention import LinearAttention
from .route_mixer import RouteMixer
from .s6 import S6, Projected, dt_bias, dt_projection, dt_weight, s4d_real
from .split_mixer import SplitMixer
from .ss2d import CROSS, SS2D
from .state_sum import StateSum

__all__ = [
    "CROSS",
    "ES2D",
    "S6",
    "SKIP",
    "SS2D",
    "Attention",
    "BidirectionalMixer",
    "GatedMerge",
    "LinearAttention",
    "MapAttention",
    "Projected",
    "RouteMixer",
    "SplitMixer",
    "StateSum",
    "dt_bias",
    "dt_projection",
    "dt_weight",
    "misplace_columns",
    "s4d_real",
]
