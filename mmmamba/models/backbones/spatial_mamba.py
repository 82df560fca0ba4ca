"""Spatial-Mamba (Xiao et al., arXiv 2410.15091, ICLR 2025): one scan, its states fused in 2-D."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import FusedSS2D, Mlp, PositionalBlock, ResidualStem, WideDownsample

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone

_KEY_MAP = KeyMap(
    # Training files hold averaged weights beside the others.
    under=("model_ema", "model", "state_dict"),
    renames=(
        (r"\.ln_([12])\.", r".norm\1."),
        (r"\.self_attention\.", ".attn."),
        (r"\.state_fusion\.kernel_3$", ".state_fusion.kernels.0"),
        (r"\.state_fusion\.kernel_3_([12])$", r".state_fusion.kernels.\1"),
        (r"^(norm|head)\.", r"classifier.\1."),
    ),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.attn\.A_logs",
        widths=(r"layers\.0\.blocks\.0\.norm1\.weight",),
        variants={
            (2, 4, 8, 4, 64): "spatialmamba_t",
            (2, 4, 21, 5, 64): "spatialmamba_s",
            (2, 4, 21, 5, 96): "spatialmamba_b",
        },
    ),
    mark=r"\.state_fusion\.",
)

_file = Repository(
    source="https://github.com/EdwardChasel/Spatial-Mamba",
    licence="Apache-2.0 (the repository's)",
    files="https://drive.google.com/file/d/{}/view",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("spatialmamba_t", "classification", top1=83.5, page=True,
          at="19kXoqGSTuKKs4AHbdUSrdKZTwTWenLIW"),
    _file("spatialmamba_t", "mask_rcnn_1x", box_ap=47.6, mask_ap=42.9, page=True,
          at="1lmA0_pBQbvuMkJD1R5m3oS_2jXaSy3N3"),
    _file("spatialmamba_t", "mask_rcnn_3x", box_ap=49.3, mask_ap=43.6, page=True,
          at="1PY0_8ZCwogssmaULdc6MzVbCTGm_83Ew"),
    _file("spatialmamba_t", "upernet_160k", miou=48.6, miou_ms=49.4, page=True,
          at="1ngRweMh6vLjfZ43fb_o_ZyHs6psxb6Ix"),
    _file("spatialmamba_s", "classification", top1=84.6, page=True,
          at="1Wb3sYoWLpgmWrmHMYKwdgDwGPZaqM28O"),
    _file("spatialmamba_s", "mask_rcnn_1x", box_ap=49.2, mask_ap=44.0, page=True,
          at="1pzjz1A6nWA9W2FW2Ymg5JSAMbvxmc2hP"),
    _file("spatialmamba_s", "mask_rcnn_3x", box_ap=50.5, mask_ap=44.6, page=True,
          at="19fDAk8cyMplgVRKqU0BC_3l1NxXzHYl_"),
    _file("spatialmamba_s", "upernet_160k", miou=50.6, miou_ms=51.4, page=True,
          at="1Ve07Um4dIPCcdg0mdNLjGxJtxKNWB_Sy"),
    _file("spatialmamba_b", "classification", top1=85.3, page=True,
          at="1k8dHp2QRCOqBSgAi36YkhZp_O8LqOPjM"),
    _file("spatialmamba_b", "mask_rcnn_1x", box_ap=50.4, mask_ap=45.1, page=True,
          at="1oTyT0q88ernqc1_IyqBWHrVJJPGNRN8r"),
    _file("spatialmamba_b", "upernet_160k", miou=51.8, miou_ms=52.6, page=True,
          at="1DLSC20TiSfzWrdgLRSdgrhnDn79nruB6"),
)
# fmt: on
_SIZES = {
    "spatialmamba_t": Size("27", "4.5"),
    "spatialmamba_s": Size("43", "7.1"),
    "spatialmamba_b": Size("96", "15.8"),
}


@dataclass(frozen=True, kw_only=True)
class SpatialMambaArch(PyramidArch):
    """What a Spatial-Mamba's architecture says, beside `PyramidArch`.

    Args:
        d_state, ssm_ratio, dt_rank, dilations: of `FusedSS2D`.
        mlp_ratio: widening of the feed-forward layer.
    """

    d_state: int = 1
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    dilations: Sequence[int] = (1, 3, 5)
    mlp_ratio: float = 4.0


@MODELS.register_module()
class SpatialMamba(PyramidBackbone):
    """Blocks of one row-major scan, whose states see their neighbours before they are read.

    Its arguments are the fields of `SpatialMambaArch` and those of every backbone
    (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = SpatialMambaArch
    ARCHS = dict(
        spatialmamba_t=SpatialMambaArch(embed_dims=64, depths=(2, 4, 8, 4), drop_path_rate=0.2),
        spatialmamba_s=SpatialMambaArch(embed_dims=64, depths=(2, 4, 21, 5), drop_path_rate=0.3),
        spatialmamba_b=SpatialMambaArch(embed_dims=96, depths=(2, 4, 21, 5), drop_path_rate=0.5),
    )
    TINY = dict(arch=dict(embed_dims=8, depths=(1, 1, 2, 1)))

    def build(self, a: SpatialMambaArch, in_channels: int) -> Pyramid:
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "dilations")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mlp = Mlp(dim, a.mlp_ratio)
            return PositionalBlock(dim, FusedSS2D(dim, **mixer), mlp, drop_path_rate)

        return Pyramid(
            stem=partial(ResidualStem, in_channels), block=block, downsample=WideDownsample
        )
