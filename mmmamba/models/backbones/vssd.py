"""VSSD (Shi et al., arXiv 2407.18559): stages that sum a state over all cells, then attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    MapAttention,
    Mlp,
    PositionalBlock,
    ResidualStem,
    StateSum,
    WideDownsample,
)

from ..trunks.arch import one_of
from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage

_KEY_MAP = KeyMap(
    under=("state_dict", "model", "model_ema"),
    renames=(
        (r"\.attn\.to_qkv\.", ".attn.qkv."),
        (r"\.attn\.to_out\.", ".attn.proj."),
        (r"^(norm|head)\.", r"classifier.\1."),
    ),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.cpe1\.weight",
        widths=(r"layers\.0\.blocks\.0\.norm1\.weight",),
        variants={
            (2, 2, 8, 4, 48): "vssd_m",
            (2, 4, 8, 4, 64): "vssd_t",
            (3, 4, 21, 5, 64): "vssd_s",
            (3, 4, 21, 5, 96): "vssd_b",
        },
    ),
    mark=r"\.attn\.(to_qkv\.weight|dt_bias)$",
)

_file = Repository(
    source="https://github.com/YuHengsss/VSSD",
    licence="none stated",
    files="https://huggingface.co/YuhengSSS/VSSD/resolve/main/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("vssd_m", "classification", top1=82.5, key="model", at="vssd_micro_best.pth"),
    _file("vssd_m", "mask_rcnn_1x", box_ap=45.4, mask_ap=41.3,
          at="mask_rcnn_vssd_fpn_coco_micro.pth"),
    _file("vssd_m", "mask_rcnn_3x", box_ap=47.7, mask_ap=42.8,
          at="mask_rcnn_vssd_fpn_coco_micro_3x.pth"),
    _file("vssd_m", "upernet_160k", miou=45.6, miou_ms=46.0,
          at="upernet_vssd_final_4xb4-160k_ade20k-512x512_micro.pth"),
    _file("vssd_t", "classification", top1=83.6, key="model_ema", at="vssd_tiny_best_ema.pth"),
    _file("vssd_t", "classification_mesa", top1=84.1, at="vssd_tiny_e300_with_mesa.pth"),
    _file("vssd_t", "mask_rcnn_1x", box_ap=46.9, mask_ap=42.6,
          at="mask_rcnn_vssd_fpn_coco_tiny.pth"),
    _file("vssd_t", "mask_rcnn_3x", box_ap=48.8, mask_ap=43.6,
          at="mask_rcnn_vssd_fpn_coco_tiny_3x.pth"),
    _file("vssd_t", "upernet_160k", miou=47.9, miou_ms=48.7,
          at="upernet_vssd_4xb4-160k_ade20k-512x512_tiny.pth"),
    _file("vssd_s", "classification", top1=84.1, key="model_ema", at="vssd_small_best_ema.pth"),
    _file("vssd_s", "classification_mesa", top1=84.5, at="vssd_small_e300_with_mesa.pth"),
    _file("vssd_s", "mask_rcnn_1x", box_ap=48.4, mask_ap=43.5,
          note="the authors link this file for 1x and for 3x (50.0, 44.6); "
               "which it is, is not known",
          at="mask_rcnn_vssd_fpn_coco_small.pth"),
    _file("vssd_b", "classification", top1=84.7, key="model_ema", at="vssd_base_best_ema.pth"),
    _file("vssd_b", "classification_mesa", top1=85.4, at="vssd_base_e300_with_mesa.pth"),
)
# fmt: on
_SIZES = {
    "vssd_m": Size("14", "2.3"),
    "vssd_t": Size("24", "4.5"),
    "vssd_s": Size("40", "7.4"),
    "vssd_b": Size("89", "16.1"),
}

MIXERS = ("state_sum", "attention")


@dataclass(frozen=True, kw_only=True)
class VSSDArch(PyramidArch):
    """What a VSSD's architecture says, beside `PyramidArch`.

    Args:
        num_heads: of each stage's mixers.
        mixers: kind of each stage's, "state_sum" or "attention".
        d_state, ssm_ratio: of `StateSum`.
        mlp_ratio: widening of the feed-forward layers.
    """

    num_heads: Sequence[int] = (2, 4, 8, 16)
    mixers: Sequence[str] = ("state_sum", "state_sum", "state_sum", "attention")
    d_state: int = 64
    ssm_ratio: float = 2.0
    mlp_ratio: float = 4.0


@MODELS.register_module()
class VSSD(PyramidBackbone):
    """Blocks whose cells all read one state, summed over the map; attention in the last stage.

    Its arguments are the fields of `VSSDArch` and those of every backbone (`MambaBackbone`).

    Raises:
        ValueError: not one number of heads and known mixer for each stage.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = VSSDArch
    ARCHS = dict(
        vssd_m=VSSDArch(embed_dims=48, depths=(2, 2, 8, 4), d_state=48, drop_path_rate=0.2),
        vssd_t=VSSDArch(embed_dims=64, depths=(2, 4, 8, 4), drop_path_rate=0.2),
        vssd_s=VSSDArch(embed_dims=64, depths=(3, 4, 21, 5), drop_path_rate=0.4),
        vssd_b=VSSDArch(
            embed_dims=96, depths=(3, 4, 21, 5), num_heads=(3, 6, 12, 24), drop_path_rate=0.6
        ),
    )
    TINY = dict(
        arch=dict(
            embed_dims=8,
            depths=(1, 1),
            num_heads=(2, 4),
            mixers=("state_sum", "attention"),
            d_state=4,
        )
    )

    def build(self, a: VSSDArch, in_channels: int) -> Pyramid:
        check_per_stage("VSSD", len(a.depths), num_heads=a.num_heads, mixers=a.mixers)
        for mixer in a.mixers:
            one_of("mixers", mixer, MIXERS)

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mixer: nn.Module
            if a.mixers[i] == "attention":
                mixer = MapAttention(dim, a.num_heads[i], qkv_bias=False)
            else:
                mixer = StateSum(dim, a.num_heads[i], a.d_state, a.ssm_ratio)
            return PositionalBlock(dim, mixer, Mlp(dim, a.mlp_ratio), drop_path_rate)

        return Pyramid(
            stem=partial(ResidualStem, in_channels), block=block, downsample=WideDownsample
        )
