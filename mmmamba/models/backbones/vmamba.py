"""VMamba (Liu et al., arXiv 2401.10166, NeurIPS 2024): four stages of SS2D blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import CROSS, SS2D, MixerBlock, Mlp

from ..trunks.arch import named
from ..trunks.pyramid import DOWNSAMPLES, STEMS, Pyramid, PyramidArch, PyramidBackbone

# Files of the first generation have other names; for a while the MLP was a real 1x1 convolution.
_KEY_MAP = KeyMap(
    renames=(
        (r"^patch_embed\.proj\.", "patch_embed.0."),
        (r"^patch_embed\.norm\.", "patch_embed.2."),
        (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
        (r"^(norm|head)\.", r"classifier.\1."),
    ),
    squeeze=(r".*\.op\.(in_proj|out_proj)\.weight", r".*\.mlp\.(fc1|fc2)\.weight"),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(
            r"layers\.0\.blocks\.0\.norm\.weight",
            r"layers\.0\.blocks\.0\.op\.out_norm\.weight",
        ),
        variants={
            (2, 2, 8, 2, 96, 96): "vmamba_t",
            (2, 2, 5, 2, 96, 192): "vmamba_t_s2l5",
            (2, 2, 15, 2, 96, 192): "vmamba_s",
            (2, 2, 15, 2, 128, 256): "vmamba_b",
            (2, 2, 20, 2, 96, 96): "vmamba_s_s1l20",
            (2, 2, 20, 2, 128, 128): "vmamba_b_s1l20",
            (2, 2, 9, 2, 96, 192): "vmamba_v0_t",
            (2, 2, 27, 2, 96, 192): "vmamba_v0_s",
            (2, 2, 27, 2, 128, 256): "vmamba_v0_b",
        },
    ),
    mark=r"\.blocks\.\d+\.(op|self_attention)\.dt_projs_weight$",
    mark_is_inherited=True,
)

_file = Repository(
    source="https://github.com/MzeroMiko/VMamba",
    licence="MIT (the repository's; none is stated for the weights)",
    files="https://github.com/MzeroMiko/VMamba/releases/download/%23{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("vmamba_t", "classification", top1=82.6,
          at="v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth"),
    _file("vmamba_t", "mask_rcnn_1x", box_ap=47.3, mask_ap=42.7,
          at="v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth"),
    _file("vmamba_t", "mask_rcnn_3x", box_ap=48.8, mask_ap=43.7,
          at="v2det/mask_rcnn_vssm_fpn_coco_tiny_ms_3x_s_epoch_31.pth"),
    _file("vmamba_t", "upernet_160k", miou=47.9, miou_ms=48.8,
          at="v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_s_iter_160000.pth"),
    _file("vmamba_t_s2l5", "classification", top1=82.5,
          at="v2cls/vssm_tiny_0230_ckpt_epoch_262.pth"),
    _file("vmamba_t_s2l5", "mask_rcnn_1x", box_ap=47.4, mask_ap=42.7,
          at="v2det/mask_rcnn_vssm_fpn_coco_tiny_epoch_12.pth"),
    _file("vmamba_t_s2l5", "mask_rcnn_3x", box_ap=48.9, mask_ap=43.7,
          at="v2det/mask_rcnn_vssm_fpn_coco_tiny_ms_3x_epoch_36.pth"),
    _file("vmamba_t_s2l5", "upernet_160k", miou=48.3, miou_ms=48.6,
          at="v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_iter_160000.pth"),
    _file("vmamba_s", "classification", top1=83.6, at="v2cls/vssm_small_0229_ckpt_epoch_222.pth"),
    _file("vmamba_s", "mask_rcnn_1x", box_ap=48.7, mask_ap=43.7,
          at="v2det/mask_rcnn_vssm_fpn_coco_small_epoch_11.pth"),
    _file("vmamba_s", "mask_rcnn_3x", box_ap=49.9, mask_ap=44.2,
          at="v2det/mask_rcnn_vssm_fpn_coco_small_ms_3x_epoch_32.pth"),
    _file("vmamba_s", "upernet_160k", miou=50.6, miou_ms=51.2,
          at="v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_small_iter_144000.pth"),
    _file("vmamba_b", "classification", top1=83.9, at="v2cls/vssm_base_0229_ckpt_epoch_237.pth"),
    _file("vmamba_b", "mask_rcnn_1x", box_ap=49.2, mask_ap=44.1,
          at="v2det/mask_rcnn_vssm_fpn_coco_base_epoch_11.pth"),
    _file("vmamba_b", "mask_rcnn_1x_bs8", box_ap=49.2, mask_ap=43.9,
          at="v2det/mask_rcnn_vssm_fpn_coco_base_epoch_12_bs8.pth"),
    _file("vmamba_b", "upernet_160k", miou=51.0, miou_ms=51.6,
          at="v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_base_iter_160000.pth"),
    _file("vmamba_s_s1l20", "classification", top1=83.3,
          at="v2cls/vssm1_small_0229s_ckpt_epoch_240.pth"),
    _file("vmamba_b_s1l20", "classification", top1=83.8,
          at="v2cls/vssm1_base_0229s_ckpt_epoch_225.pth"),
    _file("vmamba_v0_t", "classification", top1=82.2,
          at="v0cls/vssmtiny_dp01_ckpt_epoch_292.pth"),
    _file("vmamba_v0_t", "mask_rcnn_1x", box_ap=46.5, mask_ap=42.1,
          at="v0det/vssmtiny_mask_rcnn_swin_fpn_coco_epoch_12.pth"),
    _file("vmamba_v0_t", "mask_rcnn_3x", box_ap=48.5, mask_ap=43.2,
          at="v0det/vssmtiny_mask_rcnn_swin_fpn_coco_ms_3x_epoch_34.pth"),
    _file("vmamba_v0_t", "upernet_160k", miou=47.3, miou_ms=48.3,
          at="v0seg/vssmtiny_upernet_4xb4-160k_ade20k-512x512_iter_160000.pth"),
    _file("vmamba_v0_s", "classification", top1=83.5,
          at="v0cls/vssmsmall_dp03_ckpt_epoch_238.pth"),
    _file("vmamba_v0_s", "mask_rcnn_1x", box_ap=48.2, mask_ap=43.0,
          at="v0det/vssmsmall_mask_rcnn_swin_fpn_coco_epoch_12.pth"),
    _file("vmamba_v0_s", "mask_rcnn_3x", box_ap=49.7, mask_ap=44.0,
          at="v0det/vssmsmall_mask_rcnn_swin_fpn_coco_ms_3x_epoch_34.pth"),
    _file("vmamba_v0_s", "upernet_160k", miou=49.5, miou_ms=50.5,
          at="v0seg/vssmsmall_upernet_4xb4-160k_ade20k-512x512_iter_160000.pth"),
    _file("vmamba_v0_b", "classification", top1=83.7,
          at="v0cls/vssmbase_dp06_ckpt_epoch_241.pth"),
    _file("vmamba_v0_b", "mask_rcnn_1x", box_ap=48.6, mask_ap=43.3,
          at="v0det/vssmbase_mask_rcnn_swin_fpn_coco_epoch_12.pth"),
    _file("vmamba_v0_b", "upernet_160k", miou=50.0, miou_ms=51.3,
          at="v0seg/vssmbase_upernet_4xb4-160k_ade20k-512x512_iter_128000.pth"),
)
# fmt: on
_SIZES = {
    "vmamba_t": Size("30.249", "4.906"),
    "vmamba_t_s2l5": Size("30.706", "4.858"),
    "vmamba_s": Size("50.148", "8.716"),
    "vmamba_s_s1l20": Size("49.013", "8.612"),
    "vmamba_b": Size("88.558", "15.359"),
    "vmamba_b_s1l20": Size("86.615", "15.221"),
    "vmamba_v0_t": Size("22.893", "5.627"),
    "vmamba_v0_s": Size("44.417", "11.232"),
    "vmamba_v0_b": Size("76.254", "18.020"),
}


@dataclass(frozen=True, kw_only=True)
class VMambaArch(PyramidArch):
    """What a VMamba's architecture says, beside `PyramidArch`; the defaults are v2's.

    Args:
        d_state, ssm_ratio, dt_rank, routes, gate, conv_bias: of `SS2D`.
        alternate_routes: those of every second block of a stage, as Swin Transformer shifts its
            windows in every second one; None for the same in all.
        mlp_ratio: widening of the feed-forward layer, 0 for none.
        stem: "conv" (two strided convolutions) or "patch" (4x4 patches).
        downsample: "conv" or "merging".
    """

    d_state: int = 1
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS
    alternate_routes: str | Sequence[str] | Sequence[Sequence[str]] | None = None
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

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
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
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "gate", "conv_bias")
        between = a.routes if a.alternate_routes is None else a.alternate_routes

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            ss2d = SS2D(dim, routes=between if j % 2 else a.routes, **mixer)
            # The first generation has no feed-forward layer at all.
            mlp = Mlp(dim, a.mlp_ratio) if a.mlp_ratio else None
            return MixerBlock(dim, ss2d, mlp, drop_path_rate)

        return Pyramid(
            stem=partial(named("stem", a.stem, STEMS), in_channels),
            block=block,
            downsample=named("downsample", a.downsample, DOWNSAMPLES),
        )
