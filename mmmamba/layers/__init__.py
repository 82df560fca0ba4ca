"""Modules that the backbone families share. Imports `mmmamba.ops` and nothing of OpenMMLab."""

from .activated import DepthwiseConv
from .blocks import MixerBlock, ResidualBlock, Stage
from .channel_gate import ChannelGate
from .conv_norm import ConvNormAct
from .drop_path import Branch, added, drop_path, dropped
from .grouped import GroupedLinear, GroupedNormGate
from .heads import DistilledHeads, NormPoolHead
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .mixers import (
    CROSS,
    ES2D,
    S6,
    SKIP,
    SS2D,
    Attention,
    BidirectionalMixer,
    GatedMerge,
    GroupedSS2D,
    ModulatedGroupMamba,
    Projected,
    RouteMixer,
    SplitMixer,
    dt_bias,
    dt_projection,
    dt_weight,
    misplace_columns,
    s4d_real,
)
from .mlp import ConvMlp, Mlp
from .norm import LayerNorm, RMSNorm
from .plain import PatchEmbed, StreamBlock
from .positional import PositionalBlock
from .precision import full_precision
from .rescale import LayerNorm2d, rescale
from .rotary import resize_rotary_table, rotary_table
from .scaling import (
    PatchMerging,
    ResidualStem,
    WideDownsample,
    conv_downsample,
    conv_stem,
    patch_stem,
)
from .tokens import TokenEmbedding, TokenLayout, resize_cells
from .walk import CutsMaps, MapWalk, Walks
from .windows import window_cells, window_join, window_partition

__all__ = [
    "CROSS",
    "ES2D",
    "S6",
    "SKIP",
    "SS2D",
    "Attention",
    "BidirectionalMixer",
    "Branch",
    "ChannelGate",
    "ConvMlp",
    "ConvNormAct",
    "CutsMaps",
    "DepthwiseConv",
    "DistilledHeads",
    "GatedMerge",
    "GroupedLinear",
    "GroupedNormGate",
    "GroupedSS2D",
    "LayerNorm",
    "LayerNorm2d",
    "MapWalk",
    "MixerBlock",
    "Mlp",
    "ModulatedGroupMamba",
    "NormPoolHead",
    "PatchEmbed",
    "PatchMerging",
    "PositionalBlock",
    "Projected",
    "RMSNorm",
    "ResidualBlock",
    "ResidualStem",
    "RouteMixer",
    "SplitMixer",
    "Stage",
    "StreamBlock",
    "ToChannelsFirst",
    "ToChannelsLast",
    "TokenEmbedding",
    "TokenLayout",
    "Walks",
    "WideDownsample",
    "added",
    "channels_first",
    "channels_last",
    "conv_downsample",
    "conv_stem",
    "drop_path",
    "dropped",
    "dt_bias",
    "dt_projection",
    "dt_weight",
    "full_precision",
    "misplace_columns",
    "patch_stem",
    "rescale",
    "resize_cells",
    "resize_rotary_table",
    "rotary_table",
    "s4d_real",
    "window_cells",
    "window_join",
    "window_partition",
]
