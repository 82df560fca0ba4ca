"""Modules that the backbone families share. Imports `mmmamba.ops` and nothing of OpenMMLab."""

from .activated import DepthwiseConv
from .attention import Attention
from .bidirectional import BidirectionalMixer
from .blocks import MixerBlock, Stage, drop_path
from .es2d import ES2D, SKIP
from .gated_merge import GatedMerge, RouteGate, misplace_columns
from .heads import NormPoolHead
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .ls_block import LSBlock
from .mlp import Mlp
from .norm import LayerNorm
from .odss import ODSSBlock
from .plain import PatchEmbed, StreamBlock
from .rescale import LayerNorm2d, rescale
from .rg_block import RGBlock
from .rotary import resize_rotary_table, rotary_table
from .route_mixer import RouteMixer
from .scaling import PatchMerging, conv_downsample, conv_stem, patch_stem
from .split_mixer import SplitMixer
from .squeeze import NormalizedGate
from .ss2d import CROSS, SS2D
from .tokens import TokenEmbedding, TokenLayout
from .vision_clue import VisionClueMerge
from .windows import window_join, window_partition
from .yolo_conv import SPPF, conv_norm_act, simple_stem, yolo_norm

__all__ = [
    "CROSS",
    "ES2D",
    "SKIP",
    "SPPF",
    "SS2D",
    "Attention",
    "BidirectionalMixer",
    "DepthwiseConv",
    "GatedMerge",
    "LSBlock",
    "LayerNorm",
    "LayerNorm2d",
    "MixerBlock",
    "Mlp",
    "NormPoolHead",
    "NormalizedGate",
    "ODSSBlock",
    "PatchEmbed",
    "PatchMerging",
    "RGBlock",
    "RouteGate",
    "RouteMixer",
    "SplitMixer",
    "Stage",
    "StreamBlock",
    "ToChannelsFirst",
    "ToChannelsLast",
    "TokenEmbedding",
    "TokenLayout",
    "VisionClueMerge",
    "channels_first",
    "channels_last",
    "conv_downsample",
    "conv_norm_act",
    "conv_stem",
    "drop_path",
    "misplace_columns",
    "patch_stem",
    "rescale",
    "resize_rotary_table",
    "rotary_table",
    "simple_stem",
    "window_join",
    "window_partition",
    "yolo_norm",
]
