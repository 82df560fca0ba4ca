"""What happens at a cell, given those before it: mixers of a map or a sequence."""

from .attention import Attention, MapAttention
from .bidirectional import BidirectionalMixer
from .causal import CausalMixer
from .continuous import ContinuousMixer
from .cosine import CosineMixer
from .es2d import ES2D, SKIP
from .fused_ss2d import FusedSS2D
from .gated_merge import GatedMerge, misplace_columns
from .grouped import GroupedSS2D, ModulatedGroupMamba
from .linear_attention import LinearAttention
from .multi_scale import MULTI_SCALE, JoinedScan, MultiScaleSS2D
from .ordered import OrderMixer
from .pair_fusion import ConcatFusion, CrossFusion
from .route_mixer import RouteMixer
from .s6 import S6, Projected, dt_bias, dt_projection, dt_weight, s4d_real
from .spectral import AddSpectrum, SpectralMixer
from .split_mixer import SplitMixer
from .ss2d import CROSS, SS2D
from .state_sum import StateSum

__all__ = [
    "CROSS",
    "ES2D",
    "MULTI_SCALE",
    "S6",
    "SKIP",
    "SS2D",
    "AddSpectrum",
    "Attention",
    "BidirectionalMixer",
    "CausalMixer",
    "ConcatFusion",
    "ContinuousMixer",
    "CosineMixer",
    "CrossFusion",
    "FusedSS2D",
    "GatedMerge",
    "GroupedSS2D",
    "JoinedScan",
    "LinearAttention",
    "MapAttention",
    "ModulatedGroupMamba",
    "MultiScaleSS2D",
    "OrderMixer",
    "Projected",
    "RouteMixer",
    "SpectralMixer",
    "SplitMixer",
    "StateSum",
    "dt_bias",
    "dt_projection",
    "dt_weight",
    "misplace_columns",
    "s4d_real",
]
