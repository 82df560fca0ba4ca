"""EfficientVMamba (Pei et al., arXiv 2403.09977, AAAI 2025): skip-sampled scans early, inverted residuals late."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

from mmmamba.layers import (
    ES2D,
    SKIP,
    ChannelGate,
    DepthwiseConv,
    LayerNorm,
    NormPoolHead,
    PatchMerging,
    Stage,
    channels_first,
    channels_last,
    drop_path,
    patch_stem,
)

from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates, init_linears


class EVSSBlock(nn.Module):
    """`x + gate(ES2D(n)) + gate(conv(n))` with n = LN(x) (section 3.3).

    There is one norm and one gate for both branches.
    """

    def __init__(self, dim: int, mixer: nn.Module, drop_path_rate: float):
        super().__init__()
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.op = mixer
        self.conv_branch = nn.Sequential(
            DepthwiseConv(dim), nn.BatchNorm2d(dim), nn.GELU(), nn.Conv2d(dim, dim, 1)
        )
        self.se = ChannelGate(dim)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        n = self.norm(x_BHWC)
        local = channels_last(self.conv_branch(channels_first(n)))
        return x_BHWC + self.drop_path(self.se(self.op(n)) + self.se(local))


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, squeeze-and-excitation, narrow (arXiv 1801.04381)."""

    def __init__(self, dim: int, drop_path_rate: float, expand: int = 4, reduction: int = 8):
        super().__init__()
        hidden = expand * dim
        self.conv_pw = Conv2dNormActivation(dim, hidden, 1)
        self.conv_dw = Conv2dNormActivation(hidden, hidden, 3, groups=hidden)
        self.se = SqueezeExcitation(hidden, hidden // reduction)
        self.conv_pw2 = Conv2dNormActivation(hidden, dim, 1, activation_layer=None)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = self.conv_pw2(self.se(self.conv_dw(self.conv_pw(channels_first(x_BHWC)))))
        return x_BHWC + self.drop_path(channels_last(x))


@MODELS.register_module()
class EfficientVMamba(PyramidBackbone):
    """Stages of two kinds of block, "evss" with a scan and "inverted_residual" without.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims: width of the first stage; each later one doubles it.
        depths, blocks: number and kind of each stage's blocks.
        d_state, ssm_ratio, dt_rank, routes: of `ES2D`; between them the routes visit each position once.
        drop_path_rate: of the last block, rising from 0 (0.1 in the published training).
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.

    `efficientvmamba_s` has widths 64 … 512 as its published weights do, not the 96 … 768 of the paper's table 1.
    """

    ARCHS = arch_table(
        dict(drop_path_rate=0.1),
        efficientvmamba_t=dict(embed_dims=48, depths=(2, 2, 4, 2)),
        efficientvmamba_s=dict(embed_dims=64, depths=(2, 2, 4, 2)),
        efficientvmamba_b=dict(embed_dims=96, depths=(2, 2, 9, 2)),
    )
    DEFAULTS = dict(
        blocks=("evss", "evss", "inverted_residual", "inverted_residual"),
        d_state=16,
        ssm_ratio=2.0,
        dt_rank="auto",
        routes=SKIP,
        drop_path_rate=0.0,
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1), d_state=4))

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "efficientvmamba_t",
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        blocks: Sequence[str] | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        dt_rank: int | str | None = None,
        routes: Sequence[str] | None = None,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        classifier: bool = False,
        num_classes: int = 1000,
        init_cfg: dict | None = None,
    ):
        super().__init__(frozen_stages, norm_eval, init_cfg)
        a = self._choose(
            arch,
            embed_dims=embed_dims,
            depths=depths,
            blocks=blocks,
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            dt_rank=dt_rank,
            routes=routes,
            drop_path_rate=drop_path_rate,
        )
        kinds, depths = tuple(a["blocks"]), a["depths"]
        if len(kinds) != len(depths) or not set(kinds) <= {"evss", "inverted_residual"}:
            raise ValueError(
                f"blocks of EfficientVMamba is {kinds}, wanted 'evss' or 'inverted_residual' for each of "
                f"{len(depths)} stages"
            )
        mixer = {key: a[key] for key in ("d_state", "ssm_ratio", "dt_rank", "routes")}
        dims = [a["embed_dims"] * 2**i for i in range(len(depths))]
        stages = []
        for i, (dim, kind, rates) in enumerate(
            zip(dims, kinds, drop_path_rates(a["drop_path_rate"], depths))
        ):
            if kind == "evss":
                layers = [
                    EVSSBlock(dim, ES2D(dim, gate=True, conv_bias=True, **mixer), rate)
                    for rate in rates
                ]
            else:
                layers = [InvertedResidual(dim, rate) for rate in rates]
            stages.append(
                Stage(
                    layers, PatchMerging(dim, dims[i + 1]) if i + 1 < len(dims) else None, with_cp
                )
            )
        self._assemble(
            patch_stem(in_channels, dims[0]),
            stages,
            dims,
            out_indices,
            NormPoolHead(dims[-1], num_classes) if classifier else None,
        )
        self.apply(init_linears)
