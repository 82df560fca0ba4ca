"""MLLA (Han et al., arXiv 2405.16605, NeurIPS 2024): linear attention in Mamba's blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import LinearAttention, Mlp, PositionalBlock, ResidualStem, WideDownsample

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage

# Their mixer's layers are the block's own; here they stand together under `attn`.
_KEY_MAP = KeyMap(
    under=("state_dict", "model", "state_dict_ema"),
    renames=(
        (r"(\.blocks\.\d+)\.(in_proj|act_proj|out_proj|dwc)\.", r"\1.attn.\2."),
        (r"^norm(\d)\.", r"outnorm\1."),
        (r"^(norm|head)\.", r"classifier.\1."),
    ),
    may_be_missing=(OUTPUT_NORMS,),
    # Rotations of the training size, which the authors' detectors do not read either.
    may_be_surplus=(
        OUTPUT_NORMS,
        r"classifier\.(norm|head)\.(weight|bias)",
        r".*\.rope\.rotations",
    ),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.cpe1\.weight",
        widths=(r"layers\.0\.blocks\.0\.norm1\.weight",),
        variants={
            (2, 4, 8, 4, 64): "mlla_t",
            (3, 6, 21, 6, 64): "mlla_s",
            (3, 6, 21, 6, 96): "mlla_b",
        },
    ),
    mark=r"\.attn\.lepe\.",
)

_file = Repository(
    source="https://github.com/LeapLabTHU/MLLA",
    licence="MIT (the repository's)",
    files="https://cloud.tsinghua.edu.cn/f/{}/?dl=1",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("mlla_t", "classification", top1=83.5, at="7a19712877cb4242889c"),
    _file("mlla_t", "mask_rcnn_1x", box_ap=46.8, mask_ap=42.1, at="ce362e868fb5491ca55c"),
    _file("mlla_t", "mask_rcnn_3x", box_ap=48.8, mask_ap=43.8, at="339d49127565432fb912"),
    _file("mlla_s", "classification", top1=84.4, at="0e5d0b1409d540aaa80c"),
    _file("mlla_s", "mask_rcnn_1x", box_ap=49.2, mask_ap=44.2, at="3d29bec850e0441a8842"),
    _file("mlla_s", "mask_rcnn_3x", box_ap=50.5, mask_ap=44.9, at="b501c886982e4c7f926d"),
    _file("mlla_b", "classification", top1=85.3, at="91c85c5a1061496d8796"),
    _file("mlla_b", "mask_rcnn_1x", box_ap=50.5, mask_ap=45.0, at="826278b01bed4df2bbc1"),
    _file("mlla_b", "upernet_160k", miou=51.9, miou_ms=52.5, at="41760d4a531a4ffc9cbf"),
)
# fmt: on
_SIZES = {
    "mlla_t": Size("25", "4.2"),
    "mlla_s": Size("43", "7.3"),
    "mlla_b": Size("96", "16.2"),
}


@dataclass(frozen=True, kw_only=True)
class MLLAArch(PyramidArch):
    """What an MLLA's architecture says, beside `PyramidArch`.

    Args:
        num_heads: of each stage's linear attention.
        mlp_ratio: widening of the feed-forward layers.
    """

    num_heads: Sequence[int] = (2, 4, 8, 16)
    mlp_ratio: float = 4.0


@MODELS.register_module()
class MLLA(PyramidBackbone):
    """Blocks of linear attention with a rotary position code, behind a convolution and a gate.

    Its arguments are the fields of `MLLAArch` and those of every backbone (`MambaBackbone`). Images
    and maps of sides that do not halve are filled with zeros, as in the authors' detectors.

    Raises:
        ValueError: not one number of heads for each stage.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MLLAArch
    ARCHS = dict(
        mlla_t=MLLAArch(embed_dims=64, depths=(2, 4, 8, 4), drop_path_rate=0.2),
        mlla_s=MLLAArch(embed_dims=64, depths=(3, 6, 21, 6), drop_path_rate=0.3),
        mlla_b=MLLAArch(
            embed_dims=96, depths=(3, 6, 21, 6), num_heads=(3, 6, 12, 24), drop_path_rate=0.5
        ),
    )
    TINY = dict(arch=dict(embed_dims=8, depths=(1, 1), num_heads=(2, 4)))

    def build(self, a: MLLAArch, in_channels: int) -> Pyramid:
        check_per_stage("MLLA", len(a.depths), num_heads=a.num_heads)

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mixer = LinearAttention(dim, a.num_heads[i])
            return PositionalBlock(dim, mixer, Mlp(dim, a.mlp_ratio), drop_path_rate)

        return Pyramid(
            stem=partial(ResidualStem, in_channels, pad=True),
            block=block,
            downsample=partial(WideDownsample, pad=True),
        )
