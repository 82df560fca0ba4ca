"""EfficientVMamba (Pei et al., arXiv 2403.09977, AAAI 2025): skipping scans, then convolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    ES2D,
    SKIP,
    ChannelGate,
    DepthwiseConv,
    LayerNorm,
    PatchMerging,
    added,
    channels_first,
    channels_last,
    drop_path,
    dropped,
    patch_stem,
)

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone

# In stages 2 and 3 of their files, module 0 and the one after the last block are permutations: the
# blocks are counted from 1.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    renames=(
        (r"^patch_embed\.proj\.", "patch_embed.0."),
        (r"^patch_embed\.norm\.", "patch_embed.2."),
        (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
        (r"^(norm|head)\.", r"classifier.\1."),
        # The step down is the module after a stage's blocks, whichever number that gives it.
        (r"^layers\.(\d)\.\d+\.(norm|reduction)\.", r"layers.\1.downsample.\2."),
        (
            r"^layers\.(\d)\.(\d+)\.(conv_pw|conv_dw|se)",
            lambda m: f"layers.{m[1]}.blocks.{int(m[2]) - 1}.{m[3]}",
        ),
        (r"\.se\.conv_reduce\.", ".se.fc1."),
        (r"\.se\.conv_expand\.", ".se.fc2."),
    ),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.(?:norm|conv_pw\.0)\.weight",
        widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
        variants={
            (2, 2, 4, 2, 48): "efficientvmamba_t",
            (2, 2, 4, 2, 64): "efficientvmamba_s",
            (2, 2, 9, 2, 96): "efficientvmamba_b",
        },
    ),
    mark=r"\.conv_branch\.\d",
)

_file = Repository(
    source="https://github.com/TerryPei/EfficientVMamba",
    licence="Apache-2.0 (model cards)",
    files="https://huggingface.co/TerryPei/EfficientVMamba-{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("efficientvmamba_t", "classification", top1=76.5,
          at="Tiny/resolve/main/efficient_vmamba_tiny.ckpt"),
    _file("efficientvmamba_s", "classification", top1=78.7,
          at="Small/resolve/main/efficient_vmamba_small.ckpt"),
    _file("efficientvmamba_b", "classification", top1=81.8,
          at="Base/resolve/main/efficient_vmamba_base.ckpt"),
)
# fmt: on
_SIZES = {
    "efficientvmamba_t": Size("6", "0.8"),
    "efficientvmamba_s": Size("11", "1.3"),
    "efficientvmamba_b": Size("33", "4.0"),
}


class EVSSBlock(nn.Module):
    """`x + gate(ES2D(n)) + gate(conv(n))` with n = LN(x) (section 3.3).

    There is one norm and one gate for both branches.
    """

    def __init__(self, dim: int, mixer: nn.Module, drop_path_rate: float):
        super().__init__()
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.op = mixer
        self.conv_branch = nn.Sequential(
            DepthwiseConv(dim), nn.BatchNorm2d(dim), nn.GELU(), nn.Conv2d(dim, dim, 1)
        )
        self.se = ChannelGate(dim)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        n = self.norm(x_BHWC)
        local = channels_last(self.conv_branch(channels_first(n)))
        branch = self.se(self.op(n)) + self.se(local)
        return added(x_BHWC, dropped(self.drop_path, branch))


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, squeeze-and-excitation, narrow (arXiv 1801.04381)."""

    def __init__(self, dim: int, drop_path_rate: float, expand: int = 4, reduction: int = 8):
        super().__init__()
        hidden = expand * dim
        self.conv_pw = Conv2dNormActivation(dim, hidden, 1)
        self.conv_dw = Conv2dNormActivation(hidden, hidden, 3, groups=hidden)
        self.se = SqueezeExcitation(hidden, hidden // reduction)
        self.conv_pw2 = Conv2dNormActivation(hidden, dim, 1, activation_layer=None)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = self.conv_pw2(self.se(self.conv_dw(self.conv_pw(channels_first(x_BHWC)))))
        return added(x_BHWC, dropped(self.drop_path, channels_last(x)))


BLOCKS = ("evss", "inverted_residual")


@dataclass(frozen=True, kw_only=True)
class EfficientVMambaArch(PyramidArch):
    """What an EfficientVMamba's architecture says, beside `PyramidArch`.

    Args:
        blocks: kind of each stage's blocks, "evss" with a scan or "inverted_residual" without.
        d_state, ssm_ratio, dt_rank, routes: of `ES2D`; between them the routes visit each position
            once.
    """

    blocks: Sequence[str] = ("evss", "evss", "inverted_residual", "inverted_residual")
    d_state: int = 16
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: Sequence[str] = SKIP


_published = partial(EfficientVMambaArch, drop_path_rate=0.1)


@MODELS.register_module()
class EfficientVMamba(PyramidBackbone):
    """Stages of two kinds of block, with a scan and without.

    Its arguments are the fields of `EfficientVMambaArch` and those of every backbone
    (`MambaBackbone`). `efficientvmamba_s` has widths 64 … 512 as its published weights do, not the
    96 … 768 of the paper's table 1.

    Raises:
        ValueError: not one known kind of block for each stage.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = EfficientVMambaArch
    ARCHS = dict(
        efficientvmamba_t=_published(embed_dims=48, depths=(2, 2, 4, 2)),
        efficientvmamba_s=_published(embed_dims=64, depths=(2, 2, 4, 2)),
        efficientvmamba_b=_published(embed_dims=96, depths=(2, 2, 9, 2)),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1), d_state=4))

    def build(self, a: EfficientVMambaArch, in_channels: int) -> Pyramid:
        if len(a.blocks) != len(a.depths) or not set(a.blocks) <= set(BLOCKS):
            raise ValueError(
                f"blocks of EfficientVMamba is {tuple(a.blocks)}, wanted 'evss' or "
                f"'inverted_residual' for each of {len(a.depths)} stages"
            )
        # The scan of VMamba v0, with its gate and bias, on other routes.
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "routes")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            if a.blocks[i] == "inverted_residual":
                return InvertedResidual(dim, drop_path_rate)
            return EVSSBlock(dim, ES2D(dim, gate=True, conv_bias=True, **mixer), drop_path_rate)

        return Pyramid(stem=partial(patch_stem, in_channels), block=block, downsample=PatchMerging)
