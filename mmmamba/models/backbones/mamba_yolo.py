"""Mamba YOLO's backbone (Wang et al., arXiv 2406.05835, AAAI 2025): ODSS blocks between vision clue merges."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers import CROSS, NormPoolHead, Stage, channels_last
from mmmamba.models.yolo.blocks import SPPF, ODSSBlock, VisionClueMerge, simple_stem

from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates

_T = dict(embed_dims=(32, 64, 128, 256))
_B = dict(embed_dims=(64, 128, 256, 512))
_L = dict(embed_dims=(96, 192, 384, 576))


@MODELS.register_module()
class MambaYOLOBackbone(PyramidBackbone):
    """Four stages, the last followed by SPPF; by default the three maps at strides 8, 16 and 32.

    Without suffix an arch is the published code's network (arXiv v1, with LSBlock); `_v2` is the final paper's.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims, depths: width and number of each stage's blocks.
        use_lsblock: whether the blocks have an `LSBlock`.
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        mlp_ratio: of `RGBlock`.
        drop_path_rate: of the last block, rising from 0. The authors use none.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return logits of `num_classes` instead of maps. The authors have none; this one is VMamba's.

    Raises:
        ValueError: not one width and one depth a stage.
    """

    STEM = "stem"
    OUTPUT_NORMS = False
    ARCHS = {
        **arch_table(
            dict(use_lsblock=True),
            mamba_yolo_t=_T | dict(depths=(1, 1, 3, 1)),
            mamba_yolo_b=_B | dict(depths=(1, 1, 3, 1)),
            mamba_yolo_l=_L | dict(depths=(2, 2, 6, 2)),
        ),
        **arch_table(
            dict(use_lsblock=False),
            mamba_yolo_t_v2=_T | dict(depths=(1, 2, 2, 1)),
            mamba_yolo_b_v2=_B | dict(depths=(1, 2, 2, 1)),
            mamba_yolo_l_v2=_L | dict(depths=(2, 4, 4, 2)),
        ),
    }
    DEFAULTS = dict(
        use_lsblock=True,
        d_state=16,
        ssm_ratio=2.0,
        dt_rank="auto",
        routes=CROSS,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
    )
    TINY = dict(arch=dict(embed_dims=(16, 24, 32, 40), depths=(1, 1, 2, 1)))

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mamba_yolo_t",
        *,
        in_channels: int = 3,
        embed_dims: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        use_lsblock: bool | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        dt_rank: int | str | None = None,
        routes: str | Sequence[str] | None = None,
        mlp_ratio: float | None = None,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] = (1, 2, 3),
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
            use_lsblock=use_lsblock,
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            dt_rank=dt_rank,
            routes=routes,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
        )
        dims = a["embed_dims"]
        for name in ("embed_dims", "depths"):
            if len(a[name]) != 4:
                raise ValueError(
                    f"{name} of MambaYOLOBackbone is {tuple(a[name])}, wanted four entries, one a stage"
                )
        block = {
            key: a[key]
            for key in ("use_lsblock", "d_state", "ssm_ratio", "dt_rank", "routes", "mlp_ratio")
        }
        stages = []
        for i, rates in enumerate(drop_path_rates(a["drop_path_rate"], a["depths"])):
            blocks = [ODSSBlock(dims[i], dims[i], **block, drop_path_rate=rate) for rate in rates]
            stages.append(
                Stage(blocks, VisionClueMerge(dims[i], dims[i + 1]) if i < 3 else None, with_cp)
            )
        if classifier or len(stages) - 1 in out_indices:
            self.sppf = SPPF(dims[-1], dims[-1])
        self._assemble(
            simple_stem(in_channels, dims[0]),
            stages,
            dims,
            out_indices,
            NormPoolHead(dims[-1], num_classes) if classifier else None,
        )
        if not hasattr(self, "sppf"):
            self.not_built += (r"sppf\..*",)

    def _output(self, i: int, x_BCHW: Tensor) -> Tensor:
        return self.sppf(x_BCHW) if i == len(self.dims) - 1 else x_BCHW

    def _output_parts(self, i: int) -> list[nn.Module]:
        return [self.sppf] if i == len(self.dims) - 1 else []

    def _classify(self, x_BCHW: Tensor) -> Tensor:
        return super()._classify(channels_last(self.sppf(x_BCHW)))
