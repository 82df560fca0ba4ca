"""SUM's decoder: SS2D blocks that a condition modulates, between expanding layers.

(arXiv 2406.17815, section 3.) Shape suffixes: B batch, H and W sides, C width, D inner width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints.strict_loading import StrictLoading
from mmmamba.layers import (
    SS2D,
    LayerNorm,
    PatchExpand,
    added,
    channels_first,
    channels_last,
    drop_path,
    dropped,
)
from mmmamba.layers.recomputed import recomputed

from ...trunks.base import init_linears
from .conditions import CONDITIONS
from .key_maps import MIRRORED_KEY_MAP

CONDITION_WIDTH = 128


class Modulation(NamedTuple):
    """Five numbers for each image, `(B, 1, 1, 1)`, in the order of the authors' weights."""

    input_shift: Tensor
    input_scale: Tensor
    output_shift: Tensor
    output_scale: Tensor
    scan_scale: Tensor


class ModulatedSS2D(SS2D):
    """The first VMamba's SS2D, whose input, scans and normed output are scaled and shifted."""

    def forward(self, x_BHWC: Tensor, by: Modulation) -> Tensor:  # type: ignore[override]
        x_BHWC = x_BHWC * (1 + by.input_scale) + by.input_shift
        x_BHWD, z_BHWD = self.in_proj(x_BHWC).chunk(2, -1)
        y_BHWD = self._modulated(self._normed_scan(x_BHWD), by)
        return self._project_out(self._gated(y_BHWD, z_BHWD), x_BHWD.dtype)

    def _modulated(self, y_BHWD: Tensor, by: Modulation) -> Tensor:
        """What leaves the norm, scaled and shifted, as if the scans had been scaled before it.

        A norm takes the scale of its input out again, all but its sign: with a negative one, what
        comes out before the norm's bias is turned round. What is left of it, eps divided by its
        square in the place of eps, is left out; a pass over the map and the norm's fusion with the
        scan are spared.
        """
        sign_B111 = torch.where(1 + by.scan_scale < 0, -1.0, 1.0).to(y_BHWD.dtype)
        scale_B111 = 1 + by.output_scale
        shift_B11D = by.output_shift + scale_B111 * (1 - sign_B111) * self.out_norm.bias
        return y_BHWD * (scale_B111 * sign_B111) + shift_B11D.to(y_BHWD.dtype)


class ConditionalBlock(nn.Module):
    """`x + SS2D(norm(x))`, modulated by numbers that a small MLP makes of the image's condition.

    Args:
        dim: width of the maps.
        conditions: how many there are; each has a learnt vector in each block.
        drop_path_rate: of the block.
        d_state, ssm_ratio, dt_rank: of `SS2D`.
    """

    def __init__(
        self,
        dim: int,
        conditions: int = len(CONDITIONS),
        drop_path_rate: float = 0.0,
        **ss2d: Any,
    ):
        super().__init__()
        self.condition = nn.Parameter(torch.randn(conditions, CONDITION_WIDTH))
        self.mlp = nn.Sequential(
            nn.Linear(CONDITION_WIDTH, CONDITION_WIDTH),
            nn.GELU(),
            nn.Linear(CONDITION_WIDTH, CONDITION_WIDTH // 2),
            nn.GELU(),
            nn.Linear(CONDITION_WIDTH // 2, len(Modulation._fields)),
        )
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.op = ModulatedSS2D(dim, gate=True, conv_bias=True, **ss2d)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor, condition_B: Tensor) -> Tensor:
        modulation_B5 = self.mlp(F.embedding(condition_B, self.condition))
        by = Modulation(*modulation_B5[:, :, None, None, None].unbind(1))
        return added(x_BHWC, dropped(self.drop_path, self.op(self.norm(x_BHWC), by)))


class DecoderLayer(nn.Module):
    """A map added and expanded to twice its sides, then blocks; the deepest layer has blocks alone.

    Args:
        dim: width of its blocks.
        blocks: in their order.
        expand: whether there is an expanding layer, from twice the width.
        with_cp: recompute each block in the backward pass instead of keeping what is inside it.
    """

    def __init__(self, dim: int, blocks: list[nn.Module], expand: bool, with_cp: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.upsample = PatchExpand(2 * dim, dim) if expand else None
        self.with_cp = with_cp

    def forward(self, x_BHWC: Tensor, skip_BHWC: Tensor | None, condition_B: Tensor) -> Tensor:
        if self.upsample is not None:
            # At the coarser of the two resolutions.
            x_BHWC = self.upsample(x_BHWC + skip_BHWC)
        for block in self.blocks:
            spared = self.with_cp and x_BHWC.requires_grad
            run = recomputed if spared else _call
            x_BHWC = run(block, x_BHWC, condition_B)
        return x_BHWC


def _call(module: nn.Module, *inputs: Tensor) -> Tensor:
    return module(*inputs)


@MODELS.register_module()
class SUMDecoder(StrictLoading):
    """From the maps of `SUMEncoder` and a condition to logits at the stem's four-fold sides.

    `init_cfg=dict(type="Pretrained", checkpoint=...)` takes an ImageNet file of VMamba: the first
    blocks of its stages become those of the layers of their width, as the authors begin. What
    modulates and what expands begins at random.

    Args:
        in_channels: of the maps, as the encoder's `out_channels`.
        depths: blocks of each layer, the deepest first.
        conditions: names of the kinds of images, in the order of the weights.
        drop_path_rate: of the first block, falling to 0 at the last.
        d_state, ssm_ratio, dt_rank: of `SS2D`.
        with_cp: recompute each block in the backward pass instead of keeping what is inside it.
        init_cfg: as MMEngine's.

    Raises:
        ValueError: not as many depths as maps, or widths that do not double.
    """

    KEY_MAP = MIRRORED_KEY_MAP

    def __init__(
        self,
        in_channels: Sequence[int] = (192, 384, 768, 768),
        depths: Sequence[int] = (2, 2, 2, 1),
        conditions: Sequence[str] = CONDITIONS,
        drop_path_rate: float = 0.3,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        dt_rank: int | str = "auto",
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        dims = _widths(in_channels, depths)
        self.in_channels = list(in_channels)
        self.conditions = tuple(conditions)
        ss2d = dict(d_state=d_state, ssm_ratio=ssm_ratio, dt_rank=dt_rank)
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path_rate * (sum(depths) - 1 - n) / last for n in range(sum(depths))])
        layers = []
        for i, (dim, depth) in enumerate(zip(dims, depths)):
            blocks: list[nn.Module] = []
            for _ in range(depth):
                blocks.append(ConditionalBlock(dim, len(conditions), next(rates), **ss2d))
            layers.append(DecoderLayer(dim, blocks, expand=i > 0, with_cp=with_cp))
        self.layers_up = nn.ModuleList(layers)
        self.final_up = PatchExpand(dims[-1], dims[-1] // 4, 4)
        self.final_conv = nn.Conv2d(dims[-1] // 4, 1, 1)
        self.apply(init_linears)

    def forward(self, maps: Sequence[Tensor], condition_B: Tensor) -> Tensor:
        """Logits `(B, 1, H, W)`.

        Args:
            maps: those of the encoder, `(B, C, H, W)`.
            condition_B: the condition of each image by number, int64.
        """
        *skips, x = (channels_last(x_BCHW) for x_BCHW in maps)
        for layer, skip in zip(self.layers_up, [None, *skips[::-1]]):
            x = layer(x, skip, condition_B)
        return self.final_conv(channels_first(self.final_up(x)))


def _widths(in_channels: Sequence[int], depths: Sequence[int]) -> list[int]:
    """The width of each layer, the deepest first."""
    *skips, deepest = in_channels
    dims = [deepest // 2**i for i in range(len(depths))]
    # Each layer but the deepest adds a map of the width of the layer before it.
    if len(in_channels) != len(depths) or skips[::-1] != dims[: len(skips)] or dims[-1] % 4:
        raise ValueError(
            f"SUMDecoder got in_channels={list(in_channels)} and depths={list(depths)}: wanted a "
            "depth for each map of SUMEncoder, and its out_channels, such as [192, 384, 768, 768]"
        )
    return dims
