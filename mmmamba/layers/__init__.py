"""Modules that the backbone families share. Imports `mmmamba.ops` and nothing of OpenMMLab."""

from .activated import DepthwiseConv
from .blocks import MixerBlock, Stage, drop_path
from .heads import NormPoolHead
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .mixers import (
    CROSS,
    ES2D,
    SKIP,
    SS2D,
    Attention,
    BidirectionalMixer,
    GatedMerge,
    RouteGate,
    RouteMixer,
    SplitMixer,
    misplace_columns,
)
from .mlp import Mlp
from .norm import LayerNorm
from .plain import PatchEmbed, StreamBlock
from .rescale import LayerNorm2d, rescale
from .rotary import resize_rotary_table, rotary_table
from .scaling import PatchMerging, conv_downsample, conv_stem, patch_stem
from .squeeze import NormalizedGate
from .tokens import TokenEmbedding, TokenLayout
from .windows import window_join, window_partition

__all__ = [
    "CROSS",
    "ES2D",
    "SKIP",
    "SS2D",
    "Attention",
    "BidirectionalMixer",
    "DepthwiseConv",
    "GatedMerge",
    "LayerNorm",
    "LayerNorm2d",
    "MixerBlock",
    "Mlp",
    "NormPoolHead",
    "NormalizedGate",
    "PatchEmbed",
    "PatchMerging",
    "RouteGate",
    "RouteMixer",
    "SplitMixer",
    "Stage",
    "StreamBlock",
    "ToChannelsFirst",
    "ToChannelsLast",
    "TokenEmbedding",
    "TokenLayout",
    "channels_first",
    "channels_last",
    "conv_downsample",
    "conv_stem",
    "drop_path",
    "misplace_columns",
    "patch_stem",
    "rescale",
    "resize_rotary_table",
    "rotary_table",
    "window_join",
    "window_partition",
]
