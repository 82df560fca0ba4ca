"""ODSSBlock (Mamba YOLO, arXiv 2406.05835, section 3.3): projection, LSBlock, SS2D, RGBlock."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.blocks import drop_path
from ...layers.layout import channels_first, channels_last
from ...layers.mixers.ss2d import CROSS, SS2D, flat_ssm_
from ...layers.rescale import LayerNorm2d
from .conv import conv_norm_act
from .ls_block import LSBlock
from .rg_block import RGBlock


class ODSSBlock(nn.Module):
    """`p = in_proj(x)`, `t = p + ss2d(norm(lsblock(p)))`, `t + mlp(norm2(t))`: `(B, C, H, W)` to `out_channels`.

    Args:
        num_ss2d: scans after each other, with nothing between them.
        use_lsblock: whether the scans' input goes through `LSBlock`; the residual never does.
        proj_bias: of the projection; the published backbones have it, their necks do not.
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        mlp_ratio: of `RGBlock`.
        drop_path_rate: of both residual branches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_ss2d: int = 1,
        use_lsblock: bool = True,
        proj_bias: bool = True,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        dt_rank: int | str = "auto",
        routes: str | Sequence[str] = CROSS,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        self.in_proj = conv_norm_act(in_channels, out_channels, bias=proj_bias)
        self.lsblock = LSBlock(out_channels) if use_lsblock else nn.Identity()
        self.norm = LayerNorm2d(out_channels, eps=1e-6, feeds_linear=True)
        self.ss2d = nn.Sequential(
            *(
                SS2D(
                    out_channels,
                    d_state,
                    ssm_ratio,
                    dt_rank,
                    routes,
                    gate=True,
                    conv_bias=True,
                    act=F.gelu,
                )
                for _ in range(num_ss2d)
            )
        )
        for ss2d in self.ss2d:
            flat_ssm_(ss2d)
        self.norm2 = LayerNorm2d(out_channels, eps=1e-6, feeds_linear=True)
        self.mlp = RGBlock(out_channels, mlp_ratio)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.in_proj(x_BCHW)
        y_BHWC = self.ss2d(channels_last(self.norm(self.lsblock(x))))
        x = x + self.drop_path(channels_first(y_BHWC))
        return x + self.drop_path(self.mlp(self.norm2(x)))
