"""Res-VMamba (Chen et al., arXiv 2402.15761): VMamba v0 with a shortcut past its stages."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, Repository, Size
from mmmamba.layers import (
    CROSS,
    SS2D,
    MixerBlock,
    PatchMerging,
    Stage,
    channels_first,
    channels_last,
    patch_stem,
)

from ..trunks.arch import named
from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone
from .vmamba import VMamba

# The authors' files are VMamba's, without any shortcut.
_KEY_MAP = dataclasses.replace(
    VMamba.KEY_MAP,
    renames=(
        *VMamba.KEY_MAP.renames,
        (r"^residuals\.(\d)\.", r"layers.\1.downsample.shortcut."),
    ),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
        variants={(2, 2, 9, 2, 96): "res_vmamba_t", (2, 2, 27, 2, 96): "res_vmamba_s"},
    ),
    mark=r"\.downsample\.shortcut\.",
    mark_is_inherited=False,
)

_PUBLISHED_FILES = (
    Repository(
        source="https://github.com/ChiShengChen/ResVMamba",
        licence="none stated",
        files="https://huggingface.co/ms57rd/Res-VMamba/tree/main",
    ).file(
        "res_vmamba_s",
        "classification_cnfood241",
        top1=81.7,
        page=True,
        note="of CNFOOD-241; fits num_classes=241 with shortcut='random', as it was trained and "
        "measured, or 'none'",
    ),
)
# Counted, as the authors print none that is known.
_SIZES = {"res_vmamba_t": Size("23.28", None), "res_vmamba_s": Size("44.81", None)}


class DrawnConv(nn.Module):
    """A 1x1 convolution without parameters: weights and biases are drawn anew at every call.

    `(B, C, H, W)` to `(B, out_dim, H, W)`, one drawing for the whole batch, in evaluation too, from
    where `nn.Conv2d` starts.
    """

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.dim, self.out_dim = dim, out_dim

    def forward(self, x_BCHW: Tensor) -> Tensor:
        bound = self.dim**-0.5
        shape = (self.out_dim, self.dim + 1)
        drawn = (2 * torch.rand(shape, device=x_BCHW.device, dtype=x_BCHW.dtype) - 1) * bound
        weight_OC, bias_O = drawn[:, :-1], drawn[:, -1]
        return F.conv2d(x_BCHW, weight_OC[:, :, None, None], bias_O)

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.out_dim}"


def _conv(dim: int, out_dim: int) -> nn.Module:
    return nn.Conv2d(dim, out_dim, 1)


def _nothing(dim: int, out_dim: int) -> None:
    return None


SHORTCUTS = {"learned": _conv, "none": _nothing, "random": DrawnConv}


class ShortcutMerging(PatchMerging):
    """Patch merging of a stage's last map, and the map that it was given by another way.

    The largest of 2x2 neighbours, then a 1x1 convolution.

    Args:
        dim, out_dim: of the maps.
        shortcut: makes that convolution, or None for no other way.
    """

    def __init__(self, dim: int, out_dim: int, shortcut: Callable[[int, int], nn.Module | None]):
        super().__init__(dim, out_dim)
        self.shortcut = shortcut(dim, out_dim)

    def forward(self, x_BHWC: Tensor, entered_BHWC: Tensor) -> Tensor:  # type: ignore[override]
        merged = super().forward(x_BHWC)
        if self.shortcut is None:
            return merged
        # Odd sides round up here as they do in merging; there the authors' code fails.
        pooled = F.max_pool2d(channels_first(entered_BHWC), 2, ceil_mode=True)
        return merged + channels_last(self.shortcut(pooled))


class ShortcutStage(Stage):
    """A stage whose step down reads what went into its blocks, too."""

    def step_down(self, x: Tensor, entered: Tensor) -> Tensor:
        assert self.downsample is not None
        return self.downsample(x, entered)


@dataclass(frozen=True, kw_only=True)
class ResVMambaArch(PyramidArch):
    """What a Res-VMamba's architecture says, beside `PyramidArch`.

    Args:
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        shortcut: "learned"; "random", drawn anew at every call, as in the authors' code and in
            what they published; or "none", VMamba v0.
    """

    d_state: int = 16
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS
    shortcut: str = "learned"


@MODELS.register_module()
class ResVMamba(PyramidBackbone):
    """VMamba v0, with a pooled and projected shortcut past each stage but the last.

    The authors' code makes the shortcuts' convolutions anew in every pass, so that they learn
    nothing and their outputs are no function of the image: `shortcut="random"` does so, and takes
    the published weights. Here they learn by default. Its arguments are the fields of
    `ResVMambaArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = ResVMambaArch
    ARCHS = dict(
        res_vmamba_t=ResVMambaArch(embed_dims=96, depths=(2, 2, 9, 2), drop_path_rate=0.2),
        res_vmamba_s=ResVMambaArch(embed_dims=96, depths=(2, 2, 27, 2), drop_path_rate=0.3),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1), d_state=4))

    def build(self, a: ResVMambaArch, in_channels: int) -> Pyramid:
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "routes")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            ss2d = SS2D(dim, gate=True, conv_bias=True, **mixer)
            return MixerBlock(dim, ss2d, drop_path_rate=drop_path_rate)

        def stage(
            i: int, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool
        ) -> Stage:
            return ShortcutStage(blocks, downsample, with_cp)

        shortcut = named("shortcut", a.shortcut, SHORTCUTS)
        return Pyramid(
            stem=partial(patch_stem, in_channels),
            block=block,
            downsample=partial(ShortcutMerging, shortcut=shortcut),
            stage=stage,
        )
