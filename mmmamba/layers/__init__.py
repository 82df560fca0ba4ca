"""Modules that the backbone families share. Imports `mmmamba.ops` and nothing of OpenMMLab."""

from .activated import DepthwiseConv
from .blocks import MixerBlock, ResidualBlock, Stage
from .channel_gate import ChannelGate
from .conv_norm import ConvNormAct
from .drop_path import Branch, added, drop_path, dropped
from .grouped import GroupedLayerNorm, GroupedLinear
from .heads import NormPoolHead
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .mixers import (
    CROSS,
    ES2D,
    MULTI_SCALE,
    S6,
    SKIP,
    SS2D,
    AddSpectrum,
    Attention,
    BidirectionalMixer,
    FusedSS2D,
    ContinuousMixer,
    GatedMerge,
    GroupedSS2D,
    JoinedScan,
    ModulatedGroupMamba,
    MultiScaleSS2D,
    LinearAttention,
    MapAttention,
    Projected,
    RouteMixer,
    SpectralMixer,
    SplitMixer,
    StateSum,
    dt_bias,
    dt_projection,
    dt_weight,
    misplace_columns,
    s4d_real,
)
from .mlp import ConvMlp, Mlp
from .norm import LayerNorm, RMSNorm
from .plain import ConvPatchEmbed, PatchEmbed, StreamBlock
from .norm import GatedLayerNorm, LayerNorm, RMSNorm
from .plain import PatchEmbed, StreamBlock
from .positional import PositionalBlock
from .precision import full_precision
from .rescale import LayerNorm2d, rescale
from .rotary import resize_rotary_table, rotary_side_table, rotary_table
from .scaling import (
    PatchMerging,
    ResidualStem,
    WideDownsample,
    conv_downsample,
    conv_stem,
    pad_to_multiple,
    patch_stem,
)
from .tokens import RegisterEmbedding, TokenEmbedding, TokenLayout, resize_cells
from .walk import CutsMaps, MapWalk, Walks
from .tokens import TokenEmbedding, TokenLayout, resize_cells
from .walk import CutsMaps, MapWalk, Unordered, Walks
from .windows import window_cells, window_join, window_partition

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
    "Branch",
    "ChannelGate",
    "ContinuousMixer",
    "ConvMlp",
    "ConvNormAct",
    "ConvPatchEmbed",
    "CutsMaps",
    "DepthwiseConv",
    "FusedSS2D",
    "GatedLayerNorm",
    "GatedMerge",
    "GroupedLayerNorm",
    "GroupedLinear",
    "GroupedSS2D",
    "JoinedScan",
    "LayerNorm",
    "LayerNorm2d",
    "LinearAttention",
    "MapAttention",
    "MapWalk",
    "MixerBlock",
    "Mlp",
    "ModulatedGroupMamba",
    "MultiScaleSS2D",
    "NormPoolHead",
    "PatchEmbed",
    "PatchMerging",
    "PositionalBlock",
    "Projected",
    "RMSNorm",
    "RegisterEmbedding",
    "ResidualBlock",
    "ResidualStem",
    "RouteMixer",
    "SpectralMixer",
    "SplitMixer",
    "Stage",
    "StateSum",
    "StreamBlock",
    "ToChannelsFirst",
    "ToChannelsLast",
    "TokenEmbedding",
    "TokenLayout",
    "Unordered",
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
    "pad_to_multiple",
    "patch_stem",
    "rescale",
    "resize_cells",
    "resize_rotary_table",
    "rotary_side_table",
    "rotary_table",
    "s4d_real",
    "window_cells",
    "window_join",
    "window_partition",
]
