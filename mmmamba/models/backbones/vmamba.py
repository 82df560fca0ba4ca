"""VMamba (Liu et al., arXiv 2401.10166, NeurIPS 2024): four stages of SS2D blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.layers import CROSS, SS2D, MixerBlock, Mlp

from ..trunks.arch import named
from ..trunks.pyramid import DOWNSAMPLES, STEMS, Pyramid, PyramidArch, PyramidBackbone


@dataclass(frozen=True, kw_only=True)
class VMambaArch(PyramidArch):
    """What a VMamba's architecture says, beside `PyramidArch`; the defaults are v2's.

    Args:
        d_state, ssm_ratio, dt_rank, routes, gate, conv_bias: of `SS2D`.
        mlp_ratio: widening of the feed-forward layer, 0 for none.
        stem: "conv" (two strided convolutions) or "patch" (4x4 patches).
        downsample: "conv" or "merging".
    """

    d_state: int = 1
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS
    gate: bool = False
    conv_bias: bool = False
    mlp_ratio: float = 4.0
    stem: str = "conv"
    downsample: str = "conv"


_v0 = partial(
    VMambaArch,
    d_state=16,
    mlp_ratio=0.0,
    stem="patch",
    downsample="merging",
    gate=True,
    conv_bias=True,
)


@MODELS.register_module()
class VMamba(PyramidBackbone):
    """VMamba of both generations: v2 of the final paper, and v0 ("vanilla").

    Its arguments are the fields of `VMambaArch` and those of every backbone (`MambaBackbone`).
    """

    Arch = VMambaArch
    ARCHS = dict(
        vmamba_t=VMambaArch(embed_dims=96, depths=(2, 2, 8, 2), ssm_ratio=1.0, drop_path_rate=0.2),
        vmamba_t_s2l5=VMambaArch(embed_dims=96, depths=(2, 2, 5, 2), drop_path_rate=0.2),
        vmamba_s=VMambaArch(embed_dims=96, depths=(2, 2, 15, 2), drop_path_rate=0.3),
        vmamba_b=VMambaArch(embed_dims=128, depths=(2, 2, 15, 2), drop_path_rate=0.6),
        vmamba_s_s1l20=VMambaArch(
            embed_dims=96, depths=(2, 2, 20, 2), ssm_ratio=1.0, drop_path_rate=0.3
        ),
        vmamba_b_s1l20=VMambaArch(
            embed_dims=128, depths=(2, 2, 20, 2), ssm_ratio=1.0, drop_path_rate=0.5
        ),
        vmamba_v0_t=_v0(embed_dims=96, depths=(2, 2, 9, 2), drop_path_rate=0.2),
        vmamba_v0_s=_v0(embed_dims=96, depths=(2, 2, 27, 2), drop_path_rate=0.3),
        vmamba_v0_b=_v0(embed_dims=128, depths=(2, 2, 27, 2), drop_path_rate=0.6),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1)))

    def build(self, a: VMambaArch, in_channels: int) -> Pyramid:
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "routes", "gate", "conv_bias")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            ss2d = SS2D(dim, **mixer)
            mlp = Mlp(dim, a.mlp_ratio) if a.mlp_ratio else None
            return MixerBlock(dim, ss2d, mlp, drop_path_rate)

        return Pyramid(
            stem=partial(named("stem", a.stem, STEMS), in_channels),
            block=block,
            downsample=named("downsample", a.downsample, DOWNSAMPLES),
        )
