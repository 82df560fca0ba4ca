"""Mamba YOLO's backbone (Wang et al., arXiv 2406.05835, AAAI 2025): ODSS blocks and clue merges."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers import CROSS, Stage, channels_last
from mmmamba.models.yolo.blocks import SPPF, ODSSBlock, VisionClueMerge, simple_stem
from mmmamba.models.yolo.key_maps import BACKBONE_KEY_MAP

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage


@dataclass(frozen=True, kw_only=True)
class MambaYOLOArch(PyramidArch):
    """What the architecture of Mamba YOLO's backbone says, beside `PyramidArch`.

    The authors drop no paths.

    Args:
        use_lsblock: whether the blocks have an `LSBlock`.
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        mlp_ratio: of `RGBlock`.
    """

    use_lsblock: bool = True
    d_state: int = 16
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] = CROSS
    mlp_ratio: float = 4.0


_t = partial(MambaYOLOArch, embed_dims=(32, 64, 128, 256))
_b = partial(MambaYOLOArch, embed_dims=(64, 128, 256, 512))
_l = partial(MambaYOLOArch, embed_dims=(96, 192, 384, 576))


@MODELS.register_module()
class MambaYOLOBackbone(PyramidBackbone):
    """Four stages, the last followed by SPPF; by default the three maps at strides 8, 16 and 32.

    Its arguments are the fields of `MambaYOLOArch` and those of every backbone (`MambaBackbone`).
    Without suffix an arch is the published code's network (arXiv v1, with LSBlock); `_v2` is the
    final paper's. The authors have no classifier; this one is VMamba's.

    Raises:
        ValueError: not one width and one depth a stage.
    """

    STEM = "stem"
    OUTPUT_NORMS = False
    OUT_INDICES = (1, 2, 3)
    KEY_MAP = BACKBONE_KEY_MAP
    Arch = MambaYOLOArch
    ARCHS = dict(
        mamba_yolo_t=_t(depths=(1, 1, 3, 1)),
        mamba_yolo_b=_b(depths=(1, 1, 3, 1)),
        mamba_yolo_l=_l(depths=(2, 2, 6, 2)),
        mamba_yolo_t_v2=_t(depths=(1, 2, 2, 1), use_lsblock=False),
        mamba_yolo_b_v2=_b(depths=(1, 2, 2, 1), use_lsblock=False),
        mamba_yolo_l_v2=_l(depths=(2, 4, 4, 2), use_lsblock=False),
    )
    TINY = dict(arch=dict(embed_dims=(16, 24, 32, 40), depths=(1, 1, 2, 1)))

    def build(self, a: MambaYOLOArch, in_channels: int) -> Pyramid:
        check_per_stage("MambaYOLOBackbone", 4, depths=a.depths)
        given = a.pick("use_lsblock", "d_state", "ssm_ratio", "dt_rank", "routes", "mlp_ratio")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            return ODSSBlock(dim, dim, **given, drop_path_rate=drop_path_rate)

        # No start of all modules: convolutions and linear layers keep PyTorch's, as the authors'
        # do, and the scans bring theirs (`flat_ssm_`).
        return Pyramid(
            stem=partial(simple_stem, in_channels),
            block=block,
            downsample=VisionClueMerge,
            start=None,
        )

    def _make_stages(self, a: MambaYOLOArch, parts: Pyramid) -> list[Stage]:
        stages = super()._make_stages(a, parts)
        # Between stages and stem, where its random start is drawn and its parameters are counted.
        if self.is_classifier or self._is_last(self.out_indices[-1]):
            self.sppf = SPPF(self.dims[-1], self.dims[-1])
        return stages

    def _without_unused(self, stages: list[Stage]) -> list[Stage]:
        left = super()._without_unused(stages)
        if not hasattr(self, "sppf"):
            # Without the last stage there is nothing to pool, but files hold it.
            self.not_built += (r"sppf\..*",)
        return left

    def _is_last(self, i: int) -> bool:
        return i == len(self.dims) - 1

    def _output(self, i: int, x_BCHW: Tensor) -> Tensor:
        return self.sppf(x_BCHW) if self._is_last(i) else x_BCHW

    def _output_parts(self, i: int) -> list[nn.Module]:
        return [self.sppf] if self._is_last(i) else []

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        # Its blocks take and return maps as they come, with the channels first.
        return self._last(x_BCHW)

    def forward_head(self, features_BCHW: Tensor) -> Tensor:
        return self._classify(features_BCHW)

    def _classify(self, x_BCHW: Tensor) -> Tensor:
        return super()._classify(channels_last(self.sppf(x_BCHW)))
