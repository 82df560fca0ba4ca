"""Modules that the backbone families share. Imports `mmmamba.ops` and nothing of OpenMMLab."""

from .attention import Attention
from .blocks import MixerBlock, Stage, drop_path
from .es2d import SKIP, ES2D
from .gated_merge import GatedMerge, RouteGate, misplace_columns
from .heads import NormPoolHead
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .mlp import Mlp
from .scaling import PatchMerging, conv_downsample, conv_stem, patch_stem
from .split_mixer import SplitMixer
from .squeeze import NormalizedGate
from .ss2d import CROSS, SS2D
from .windows import window_join, window_partition

__all__ = [
    "CROSS", "ES2D", "SKIP", "SS2D", "Attention", "GatedMerge", "MixerBlock", "Mlp", "NormPoolHead",
    "NormalizedGate", "PatchMerging", "RouteGate", "SplitMixer", "Stage", "ToChannelsFirst", "ToChannelsLast",
    "channels_first", "channels_last", "conv_downsample", "conv_stem", "drop_path", "misplace_columns",
    "patch_stem", "window_join", "window_partition",
]
