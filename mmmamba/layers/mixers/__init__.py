"""What happens at a cell, given those before it: mixers of a map or a sequence."""

from .attention import Attention
from .bidirectional import BidirectionalMixer
from .continuous import ContinuousMixer
from .es2d import ES2D, SKIP
from .gated_merge import GatedMerge, misplace_columns
from .route_mixer import RouteMixer
from .s6 import S6, Projected, dt_bias, dt_projection, dt_weight, s4d_real
from .split_mixer import SplitMixer
from .ss2d import CROSS, SS2D

__all__ = [
    "CROSS",
    "ES2D",
    "S6",
    "SKIP",
    "SS2D",
    "Attention",
    "BidirectionalMixer",
    "ContinuousMixer",
    "GatedMerge",
    "Projected",
    "RouteMixer",
    "SplitMixer",
    "dt_bias",
    "dt_projection",
    "dt_weight",
    "misplace_columns",
    "s4d_real",
]
