"""MSVMamba (Shi et al., arXiv 2405.14174, NeurIPS 2024): scans on maps of two resolutions.

There are two networks of this name: that of May 2024 (nano, micro, tiny), and "v3" (tiny, small,
base), whose stem, norms and merge differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    MULTI_SCALE,
    Branch,
    ConvMlp,
    MixerBlock,
    MultiScaleSS2D,
    added,
    dropped,
)

from ..trunks.arch import named
from ..trunks.base import init_linears
from ..trunks.pyramid import DOWNSAMPLES, STEMS, Pyramid, PyramidArch, PyramidBackbone

_KEY_MAP = KeyMap(
    under=("model_ema", "model", "state_dict"),
    renames=(
        (r"^patch_embed\.proj\.", "patch_embed.0."),
        (r"^patch_embed\.norm\.", "patch_embed.2."),
        (r"\.convFFN\.linear([12])\.", r".mlp.fc\1."),
        (r"\.convFFN\.dwc\.", ".mlp.dwconv."),
        (r"\.se\.fc\.0\.", ".se.global_reduce."),
        (r"\.se\.fc\.2\.", ".se.channel_select."),
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
            (1, 2, 5, 2, 48, 96): "msvmamba_n",
            (1, 2, 5, 2, 64, 128): "msvmamba_m",
            (1, 2, 9, 2, 96, 192): "msvmamba_t",
            (2, 2, 9, 2, 96, 96): "msvmamba_v3_t",
            (2, 3, 20, 2, 96, 96): "msvmamba_v3_s",
            (2, 4, 18, 2, 128, 128): "msvmamba_v3_b",
        },
    ),
    mark=r"\.op\.conv2d_b1\.",
)

_source = "https://github.com/YuHengsss/MSVMamba"
_file = Repository(
    source=_source,
    licence="none stated",
    files="https://drive.google.com/drive/folders/{}",
).file
_v3_file = Repository(
    source=_source,
    licence="none stated",
    files="https://huggingface.co/YuhengSSS/MSVMamba/resolve/main/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("msvmamba_n", "classification", top1=77.3, page=True,
          at="1J41w3ApitQhp2O3wHmJoOs4U032uqebK"),
    _file("msvmamba_m", "classification", top1=79.8, page=True,
          at="1jfl2GmuKcUB8sPwRlyHK_wT0MjqgljYk"),
    _file("msvmamba_m", "mask_rcnn_1x", box_ap=43.8, mask_ap=39.9, page=True,
          at="12CrNAGBalU0yoQcQgPTGO5lM397Jc4La"),
    _file("msvmamba_m", "mask_rcnn_3x", box_ap=46.3, mask_ap=41.8, page=True,
          at="10-8cDnRfnk_j4QxMHkhUyecucnM_82pt"),
    _file("msvmamba_m", "upernet_160k", miou=45.1, miou_ms=45.4, page=True,
          at="1naZHL4mwTchllAE001SsyZ_z4y_JRF0s"),
    _file("msvmamba_t", "classification", top1=82.8, page=True,
          at="1ddNWk89ohcxxMuVEaJ2Y5A6xeBKgA7lU"),
    _file("msvmamba_t", "mask_rcnn_1x", box_ap=46.9, mask_ap=42.2, page=True,
          at="1MogQ6PGdrgsyJckJTL9BJzlMCodJ3epu"),
    _file("msvmamba_t", "mask_rcnn_3x", box_ap=48.3, mask_ap=43.2, page=True,
          at="1dK1qFjaU8GmqvsmMr1mgppNJlNacHPtG"),
    _file("msvmamba_t", "upernet_160k", miou=47.8, page=True,
          at="1FaFPFExDd_4goIlLjTR7fXsuMRr-vYoY"),
    _v3_file("msvmamba_v3_t", "classification", top1=83.0, at="msvmambav3_tiny_224.pth"),
    _v3_file("msvmamba_v3_s", "classification", top1=84.1, at="msvmambav3_small_224.pth"),
    _v3_file("msvmamba_v3_b", "classification", top1=84.4, at="msvmambav3_base_224.pth"),
)
# fmt: on
_SIZES = {
    "msvmamba_n": Size("7", "0.9"),
    "msvmamba_m": Size("12", "1.5"),
    "msvmamba_t": Size("33", "4.6"),
    "msvmamba_v3_t": Size("32", "5.1"),
    "msvmamba_v3_s": Size("50", "8.8"),
    "msvmamba_v3_b": Size("91", "16.3"),
}


class PostNormBlock(MixerBlock):
    """`x + mixer(norm(x))`, then `x + norm(mlp(x))`."""

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        normed, x = self.norm(x, branch)
        x = added(x, dropped(self.drop_path, self.op(normed)))
        return x, dropped(self.drop_path, self.norm2(self.mlp(x)))


@dataclass(frozen=True, kw_only=True)
class MSVMambaArch(PyramidArch):
    """What an MSVMamba's architecture says, beside `PyramidArch`; the defaults are v3's.

    Args:
        d_state, ssm_ratio, dt_rank, gate: of `SS2D`.
        routes, coarse_first, norm_each, upsample: of `MultiScaleSS2D`.
        mlp_ratio: widening of the feed-forward layer.
        post_norm: normalise what the feed-forward layer returns, not what it takes.
        stem: "conv" (two strided convolutions) or "patch" (4x4 patches).
        downsample: "conv" or "merging".
    """

    d_state: int = 1
    ssm_ratio: float = 1.0
    dt_rank: int | str = "auto"
    gate: bool = False
    routes: Sequence[str] = MULTI_SCALE
    coarse_first: bool = False
    norm_each: bool = False
    upsample: str = "nearest"
    mlp_ratio: float = 4.0
    post_norm: bool = True
    stem: str = "conv"
    downsample: str = "conv"


_v1 = partial(
    MSVMambaArch,
    ssm_ratio=2.0,
    gate=True,
    coarse_first=True,
    norm_each=True,
    upsample="bilinear",
    mlp_ratio=2.0,
    post_norm=False,
    stem="patch",
    downsample="merging",
    drop_path_rate=0.2,
)


def _start(module: nn.Module) -> None:
    """Where linear layers start; those of `ConvMlp` are convolutions there and start as such."""
    init_linears(module)
    # Modules come after what is in them.
    if isinstance(module, ConvMlp):
        module.fc1.reset_parameters()
        module.fc2.reset_parameters()


@MODELS.register_module()
class MSVMamba(PyramidBackbone):
    """MSVMamba of both generations.

    Its arguments are the fields of `MSVMambaArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MSVMambaArch
    ARCHS = dict(
        msvmamba_n=_v1(embed_dims=48, depths=(1, 2, 5, 2)),
        msvmamba_m=_v1(embed_dims=64, depths=(1, 2, 5, 2)),
        msvmamba_t=_v1(embed_dims=96, depths=(1, 2, 9, 2)),
        msvmamba_v3_t=MSVMambaArch(embed_dims=96, depths=(2, 2, 9, 2), drop_path_rate=0.2),
        msvmamba_v3_s=MSVMambaArch(embed_dims=96, depths=(2, 3, 20, 2), drop_path_rate=0.4),
        msvmamba_v3_b=MSVMambaArch(
            embed_dims=128, depths=(2, 4, 18, 2), gate=True, drop_path_rate=0.5
        ),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 2, 1)))

    def build(self, a: MSVMambaArch, in_channels: int) -> Pyramid:
        ssm = a.pick("d_state", "ssm_ratio", "dt_rank", "gate")
        scales = a.pick("routes", "coarse_first", "norm_each", "upsample")
        kind = PostNormBlock if a.post_norm else MixerBlock

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mixer = MultiScaleSS2D(dim, **scales, **ssm)
            return kind(dim, mixer, ConvMlp(dim, a.mlp_ratio, residual=True), drop_path_rate)

        return Pyramid(
            stem=partial(named("stem", a.stem, STEMS), in_channels),
            block=block,
            downsample=named("downsample", a.downsample, DOWNSAMPLES),
            start=_start,
        )
