"""MedMamba (Yue and Li, arXiv 2403.03849): half the channels scanned, half convolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    CROSS,
    SS2D,
    ConvNormAct,
    LayerNorm,
    PatchMerging,
    PoolHead,
    channels_first,
    channels_last,
    drop_path,
    patch_stem,
)

from ..trunks.base import init_linears
from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone

# Convolutions, norms and activations count one after the other in their branch.
_KEY_MAP = KeyMap(
    renames=(
        (r"^patch_embed\.proj\.", "patch_embed.0."),
        (r"^patch_embed\.norm\.", "patch_embed.2."),
        (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
        (r"\.conv33conv33conv11\.0\.", ".local.0."),
        (r"\.conv33conv33conv11\.([147])\.", lambda m: f".local.{int(m[1]) // 3 + 1}.conv."),
        (r"\.conv33conv33conv11\.([25])\.", lambda m: f".local.{int(m[1]) // 3 + 1}.norm."),
        (r"^head\.", "classifier.head."),
    ),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.head\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
        variants={
            (2, 2, 4, 2, 48): "medmamba_t",
            (2, 2, 8, 2, 48): "medmamba_s",
            (2, 2, 12, 2, 64): "medmamba_b",
        },
    ),
    mark=r"\.(conv33conv33conv11\.7|local\.3\.conv)\.",
)

_PUBLISHED_FILES = (
    Repository(
        source="https://github.com/YubiaoYue/MedMamba",
        licence="none stated",
        files="https://pan.baidu.com/s/1N7AmeyTyh4FKqke7IapkUg",
    ).file(
        "medmamba_t",
        "classification_pathmnist",
        top1=95.3,
        page=True,
        note="of PathMNIST; beside it files of 15 more sets of medical images; password 2024; that "
        "they are of this size is not said",
    ),
)
# Counted, as the authors print none that is known.
_SIZES = {
    "medmamba_t": Size("15.2", None),
    "medmamba_s": Size("19.4", None),
    "medmamba_b": Size("40.9", None),
}


class SplitBlock(nn.Module):
    """`x + shuffle(convolutions(left), SS2D(norm(right)))`, left and right the halves of x.

    Channels-last. Shuffled, the halves take turns channel by channel, so that the next block parts
    them otherwise. There is no feed-forward layer.

    Args:
        dim: width C, even.
        mixer: of the right half.
        drop_path_rate: of the right half alone.

    Raises:
        ValueError: an odd width.
    """

    def __init__(self, dim: int, mixer: nn.Module, drop_path_rate: float = 0.0):
        super().__init__()
        if dim % 2:
            raise ValueError(f"embed_dims of MedMamba holds {dim}, wanted even widths")
        half = dim // 2
        self.local = nn.Sequential(
            # Before a convolution that pads with zeros, so nothing can take this norm in.
            nn.BatchNorm2d(half),
            ConvNormAct(nn.Conv2d(half, half, 3, padding=1)),
            ConvNormAct(nn.Conv2d(half, half, 3, padding=1)),
            ConvNormAct(nn.Conv2d(half, half, 1), norm=False),
        )
        self.norm = LayerNorm(half, feeds_linear=True)
        self.op = mixer
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        left, right = x_BHWC.chunk(2, -1)
        # Copied: kernels want channels that fill their memory.
        local = channels_last(self.local(channels_first(left.contiguous())))
        scanned = self.drop_path(self.op(self.norm(right.contiguous())))
        return x_BHWC + torch.stack([local, scanned], -1).flatten(-2)


def _start(module: nn.Module) -> None:
    init_linears(module)
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@dataclass(frozen=True, kw_only=True)
class MedMambaArch(PyramidArch):
    """What a MedMamba's architecture says, beside `PyramidArch`.

    Args:
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`, for half a stage's width.
    """

    d_state: int = 16
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS
    drop_path_rate: float = 0.1


@MODELS.register_module()
class MedMamba(PyramidBackbone):
    """Stages whose blocks convolve one half of the channels and scan the other.

    Its arguments are the fields of `MedMambaArch` and those of every backbone (`MambaBackbone`).
    Sides that do not halve lose a row or column on the way down, as published. Files older than
    April 2024 (`finalconv11` in their names) are of another block, and do not fit.

    Raises:
        ValueError: an odd width.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MedMambaArch
    ARCHS = dict(
        medmamba_t=MedMambaArch(embed_dims=96, depths=(2, 2, 4, 2)),
        medmamba_s=MedMambaArch(embed_dims=96, depths=(2, 2, 8, 2)),
        medmamba_b=MedMambaArch(embed_dims=128, depths=(2, 2, 12, 2)),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1), d_state=4))

    def build(self, a: MedMambaArch, in_channels: int) -> Pyramid:
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "routes")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            ss2d = SS2D(dim // 2, gate=True, conv_bias=True, **mixer)
            return SplitBlock(dim, ss2d, drop_path_rate)

        return Pyramid(
            stem=partial(patch_stem, in_channels),
            block=block,
            downsample=partial(PatchMerging, crop=True),
            head=PoolHead,
            start=_start,
        )
