"""VMamba (Liu et al., arXiv 2401.10166, NeurIPS 2024): four stages of SS2D blocks."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS

from mmmamba.layers import (
    CROSS,
    SS2D,
    MixerBlock,
    Mlp,
    NormPoolHead,
    PatchMerging,
    Stage,
    conv_downsample,
    conv_stem,
    patch_stem,
)

from ..trunks.base import one_of
from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates, init_linears

STEMS = {"conv": conv_stem, "patch": patch_stem}
DOWNSAMPLES = {"conv": conv_downsample, "merging": PatchMerging}

_V2 = dict(d_state=1, mlp_ratio=4.0, stem="conv", downsample="conv", gate=False, conv_bias=False)
_V0 = dict(
    d_state=16,
    ssm_ratio=2.0,
    mlp_ratio=0.0,
    stem="patch",
    downsample="merging",
    gate=True,
    conv_bias=True,
)


@MODELS.register_module()
class VMamba(PyramidBackbone):
    """VMamba of both generations: v2 of the final paper, and v0 ("vanilla").

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims: width of the first stage; each later one doubles it.
        depths: blocks of each stage.
        d_state, ssm_ratio, dt_rank, routes, gate, conv_bias: of `SS2D`.
        mlp_ratio: widening of the feed-forward layer, 0 for none.
        stem: "conv" (two strided convolutions) or "patch" (4x4 patches).
        downsample: "conv" or "merging".
        drop_path_rate: of the last block, rising from 0.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.
    """

    ARCHS = {
        **arch_table(
            _V2,
            vmamba_t=dict(embed_dims=96, depths=(2, 2, 8, 2), ssm_ratio=1.0, drop_path_rate=0.2),
            vmamba_t_s2l5=dict(
                embed_dims=96, depths=(2, 2, 5, 2), ssm_ratio=2.0, drop_path_rate=0.2
            ),
            vmamba_s=dict(embed_dims=96, depths=(2, 2, 15, 2), ssm_ratio=2.0, drop_path_rate=0.3),
            vmamba_b=dict(embed_dims=128, depths=(2, 2, 15, 2), ssm_ratio=2.0, drop_path_rate=0.6),
            vmamba_s_s1l20=dict(
                embed_dims=96, depths=(2, 2, 20, 2), ssm_ratio=1.0, drop_path_rate=0.3
            ),
            vmamba_b_s1l20=dict(
                embed_dims=128, depths=(2, 2, 20, 2), ssm_ratio=1.0, drop_path_rate=0.5
            ),
        ),
        **arch_table(
            _V0,
            vmamba_v0_t=dict(embed_dims=96, depths=(2, 2, 9, 2), drop_path_rate=0.2),
            vmamba_v0_s=dict(embed_dims=96, depths=(2, 2, 27, 2), drop_path_rate=0.3),
            vmamba_v0_b=dict(embed_dims=128, depths=(2, 2, 27, 2), drop_path_rate=0.6),
        ),
    }
    DEFAULTS = dict(_V2, ssm_ratio=2.0, dt_rank="auto", routes=CROSS, drop_path_rate=0.0)
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1)))

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "vmamba_t",
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        dt_rank: int | str | None = None,
        routes: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        gate: bool | None = None,
        conv_bias: bool | None = None,
        mlp_ratio: float | None = None,
        stem: str | None = None,
        downsample: str | None = None,
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
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            dt_rank=dt_rank,
            routes=routes,
            gate=gate,
            conv_bias=conv_bias,
            mlp_ratio=mlp_ratio,
            stem=stem,
            downsample=downsample,
            drop_path_rate=drop_path_rate,
        )
        dims = [a["embed_dims"] * 2**i for i in range(len(a["depths"]))]
        mixer = {
            key: a[key]
            for key in ("d_state", "ssm_ratio", "dt_rank", "routes", "gate", "conv_bias")
        }
        step = DOWNSAMPLES[one_of("downsample", a["downsample"], list(DOWNSAMPLES))]
        stages = []
        for i, (dim, rates) in enumerate(
            zip(dims, drop_path_rates(a["drop_path_rate"], a["depths"]))
        ):
            blocks = [
                MixerBlock(
                    dim,
                    SS2D(dim, **mixer),
                    Mlp(dim, a["mlp_ratio"]) if a["mlp_ratio"] else None,
                    rate,
                )
                for rate in rates
            ]
            stages.append(
                Stage(blocks, step(dim, dims[i + 1]) if i + 1 < len(dims) else None, with_cp)
            )
        self._assemble(
            STEMS[one_of("stem", a["stem"], list(STEMS))](in_channels, dims[0]),
            stages,
            dims,
            out_indices,
            NormPoolHead(dims[-1], num_classes) if classifier else None,
        )
        self.apply(init_linears)
