"""What happens at a cell, given those before it: mixers of a map or a sequence."""

from .attention import Attention
from .bidirectional import BidirectionalMixer
from .es2d import ES2D, SKIP
from .gated_merge import GatedMerge, RouteGate, misplace_columns
from .route_mixer import RouteMixer
from .split_mixer import SplitMixer
from .ss2d import CROSS, SS2D

__all__ = [
    "Attention",
    "BidirectionalMixer",
    "CROSS",
    "ES2D",
    "GatedMerge",
    "RouteGate",
    "RouteMixer",
    "SKIP",
    "SS2D",
    "SplitMixer",
    "misplace_columns",
]
