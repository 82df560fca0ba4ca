"""MobileMamba (He et al., arXiv 2411.15941, CVPR 2025): scans of some channels, from stride 16."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from mmmamba.checkpoints import CheckpointError, Fingerprint, KeyMap, Report, Repository, Size
from mmmamba.layers import (
    ToChannelsLast,
    added,
    channels_first,
    channels_last,
    drop_path,
    dropped,
)
from mmmamba.layers.conv_norm import (
    ConvNorm,
    Fusible,
    NormLinear,
    Residual,
    ScaleNorm,
    fused_copy,
)
from mmmamba.layers.mixers.wavelet import NormedSS2D, WaveletMixer

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage

# Modules 0 to 2 of the later stages in their files are the transition from the stage before.
_KEY_MAP = KeyMap(
    # `net_E` is the average of the weights, which the published accuracies are of.
    under=("net_E", "net", "state_dict", "model"),
    renames=(
        # Before the pattern of blocks, which would take these for blocks.
        (r"^blocks([23])\.([012])\.", lambda m: f"layers.{int(m[1]) - 2}.downsample.{m[2]}."),
        (r"^blocks1\.", "layers.0.blocks."),
        (
            r"^blocks([23])\.(\d+)\.",
            lambda m: f"layers.{int(m[1]) - 1}.blocks.{int(m[2]) - 3}.",
        ),
        (r"\.mixer\.m\.attn\.", ".mixer.m."),
        (r"\.local_op\.dwconv3x3\.", ".local_op.0.c."),
        (r"\.local_op\.bn1\.", ".local_op.0.bn."),
        (r"\.local_op\.dwconv1x1\.", ".local_op.2.c."),
        (r"\.local_op\.bn2\.", ".local_op.2.bn."),
        (r"\.base_scale\.weight$", ".base_scale"),
        (r"\.wavelet_scale\.0\.weight$", ".wavelet_scale"),
        (r"\.wavelet_convs\.0\.", ".wavelet_conv."),
    ),
    may_be_surplus=(r"head\.(bn|l)\..*",),
    fingerprint=Fingerprint(
        block=r"layers\.(\d)\.blocks\.(\d+)\.dw0\.m\.c\.weight",
        widths=(r"patch_embed\.6\.c\.weight",),
        variants={
            (1, 2, 2, 144): "mobilemamba_t2",
            (1, 2, 2, 176): "mobilemamba_t4",
            (1, 2, 2, 192): "mobilemamba_s6",
            (2, 3, 2, 200): "mobilemamba_b1, mobilemamba_b2 or mobilemamba_b4",
        },
    ),
    mark=r"\.global_op\.(wt_filter|global_atten\.)",
)

_file = Repository(
    source="https://github.com/lewandofskee/MobileMamba",
    licence="Apache-2.0 (model card; the repository is MIT)",
    files="https://huggingface.co/Lewandofski/MobileMamba{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("mobilemamba_t2", "classification", top1=73.6, page=True),
    _file("mobilemamba_t2", "classification_distilled", top1=76.9, page=True),
    _file("mobilemamba_t4", "classification", top1=76.1, page=True),
    _file("mobilemamba_t4", "classification_distilled", top1=78.9, page=True),
    _file("mobilemamba_s6", "classification", top1=78.0, page=True),
    _file("mobilemamba_s6", "classification_distilled", top1=80.7, page=True),
    _file("mobilemamba_b1", "classification", top1=79.9, page=True),
    _file("mobilemamba_b1", "classification_distilled", top1=82.2, page=True),
    _file("mobilemamba_b2", "classification", top1=81.6, page=True),
    _file("mobilemamba_b2", "classification_distilled", top1=83.3, page=True),
    _file("mobilemamba_b4", "classification", top1=82.5, page=True),
    _file("mobilemamba_b4", "classification_distilled", top1=83.6, page=True),
)
# fmt: on
_SIZES = {
    "mobilemamba_t2": Size("8.8", "0.255", 192),
    "mobilemamba_t4": Size("14.2", "0.413", 192),
    "mobilemamba_s6": Size("15.0", "0.652"),
    "mobilemamba_b1": Size("17.1", "1.080", 256),
    "mobilemamba_b2": Size("17.1", "2.427", 384),
    "mobilemamba_b4": Size("17.1", "4.313", 512),
}


def split_channels(dim: int, global_ratio: float, local_ratio: float) -> tuple[int, int, int]:
    """Channels that are scanned (a multiple of 16), convolved, and passed by.

    Raises:
        ValueError: no channels left to scan or to convolve.
    """
    # The nearest multiple, the upper one of two.
    scanned = (int(global_ratio * dim) + 8) // 16 * 16
    local = min(int(local_ratio * dim), dim - scanned)
    if scanned < 1 or local < 1:
        raise ValueError(
            f"{dim} channels at global_ratio {global_ratio} and local_ratio {local_ratio} leave "
            f"{scanned} to scan and {local} to convolve; both must be above 0"
        )
    return scanned, local, dim - scanned - local


class FeedForward(nn.Module):
    """Widen by two and narrow again, pointwise."""

    def __init__(self, dim: int, gain: float = 1.0):
        super().__init__()
        self.pw1 = ConvNorm(dim, 2 * dim)
        self.act = nn.ReLU()
        self.pw2 = ConvNorm(2 * dim, dim, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw2(self.act(self.pw1(x)))


class MRFFI(nn.Module):
    """Multi-receptive-field feature interaction (section 3.3).

    Part of the channels is scanned, part convolved, part passes by; then all are mixed.
    """

    def __init__(
        self,
        dim: int,
        global_ratio: float,
        local_ratio: float,
        kernel_size: int,
        gain: float,
        ssm_ratio: float,
        dt_rank: int | str,
        routes: Sequence[str],
    ):
        super().__init__()
        self.splits = split_channels(dim, global_ratio, local_ratio)
        scanned, local, _ = self.splits
        self.global_op = WaveletMixer(
            scanned, NormedSS2D(scanned, ssm_ratio, dt_rank, tuple(routes)), kernel_size
        )
        self.local_op = nn.Sequential(
            ConvNorm(local, local, kernel_size, groups=local), nn.ReLU(), ScaleNorm(local)
        )
        self.proj = nn.Sequential(nn.ReLU(), ConvNorm(dim, dim, gain=gain))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        scanned, local, rest = x_BCHW.split(self.splits, 1)
        return self.proj(torch.cat([self.global_op(scanned), self.local_op(local), rest], 1))


def _depthwise(dim: int, gain: float = 1.0) -> Residual:
    return Residual(ConvNorm(dim, dim, 3, groups=dim, gain=gain))


class MobileMambaBlock(nn.Module):
    """Five residual steps within one more residual (figure 3). Channels-last.

    Drop path acts on the outer one.
    """

    def __init__(self, dim: int, mixer: nn.Module, gain: float, drop_path_rate: float):
        super().__init__()
        self.dw0 = _depthwise(dim, gain)
        self.ffn0 = Residual(FeedForward(dim, gain))
        self.mixer = Residual(mixer)
        self.dw1 = _depthwise(dim, gain)
        self.ffn1 = Residual(FeedForward(dim, gain))
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = channels_first(x_BHWC)
        branch = self.ffn1(self.dw1(self.mixer(self.ffn0(self.dw0(x)))))
        return channels_last(added(x, dropped(self.drop_path, branch)))


class Merging(nn.Module):
    """Half the sides through an inverted residual's middle, to `out_dim` channels."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        hidden = 4 * dim
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, stride=2, groups=hidden)
        self.act = nn.ReLU()
        self.se = SqueezeExcitation(hidden, dim)
        self.conv3 = ConvNorm(hidden, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.se(self.act(self.conv2(self.act(self.conv1(x))))))


class Transition(nn.Sequential):
    """Between stages: residual steps, `Merging`, residual steps. Channels-last."""

    def __init__(self, dim: int, out_dim: int, gain: float):
        super().__init__(
            *(
                # Depthwise steps of a transition start with gain 1, unlike those of a block, as in
                # the original.
                nn.Sequential(_depthwise(dim), Residual(FeedForward(dim, gain))),
                Merging(dim, out_dim),
                nn.Sequential(_depthwise(out_dim), Residual(FeedForward(out_dim, gain))),
            )
        )

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x_BHWC)))


def _stem(in_channels: int, dim: int) -> nn.Sequential:
    """Four strided convolutions, ReLU between them."""
    widths = [in_channels, dim // 8, dim // 4, dim // 2, dim]
    layers: list[nn.Module] = []
    for i in range(4):
        layers += [ConvNorm(widths[i], widths[i + 1], 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers[:-1], ToChannelsLast())


@dataclass(frozen=True, kw_only=True)
class MobileMambaArch(PyramidArch):
    """What a MobileMamba's architecture says, beside `PyramidArch`.

    Args:
        global_ratio, local_ratio: the share of each stage's channels that is scanned and convolved.
        kernels: kernel size of each stage's convolutions beside the scan.
        ssm_ratio, dt_rank, routes: of `SS2D`.
        zero_init_residual: start every inner residual at zero, as the original does.
    """

    global_ratio: Sequence[float] = (0.8, 0.7, 0.6)
    local_ratio: Sequence[float] = (0.2, 0.2, 0.3)
    kernels: Sequence[int] = (7, 5, 3)
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: Sequence[str] = ("row", "row_reversed")
    zero_init_residual: bool = True


_small = partial(MobileMambaArch, depths=(1, 2, 2))
_B = MobileMambaArch(embed_dims=(200, 376, 448), depths=(2, 3, 2), drop_path_rate=0.03)


@MODELS.register_module()
class MobileMamba(PyramidBackbone, Fusible):
    """Three stages at strides 16, 32 and 64.

    Its arguments are the fields of `MobileMambaArch` and those of every backbone (`MambaBackbone`).
    B1, B2 and B4 are one network, trained at 256, 384 and 512 pixels.

    Raises:
        ValueError: not three widths, depths, ratios and kernels.
    """

    STRIDES = (16, 32, 64)
    OUTPUT_NORMS = False
    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MobileMambaArch
    ARCHS = dict(
        mobilemamba_t2=_small(embed_dims=(144, 272, 368)),
        mobilemamba_t4=_small(embed_dims=(176, 368, 448)),
        mobilemamba_s6=_small(embed_dims=(192, 384, 448)),
        mobilemamba_b1=_B,
        mobilemamba_b2=_B,
        mobilemamba_b4=_B,
    )
    TINY = dict(arch=dict(embed_dims=(40, 64, 80), depths=(1, 1, 1)), zero_init_residual=False)
    is_fused = False

    def build(self, a: MobileMambaArch, in_channels: int) -> Pyramid:
        per_stage = a.pick("depths", "global_ratio", "local_ratio", "kernels")
        check_per_stage("MobileMamba", 3, **per_stage)
        ssm = a.pick("ssm_ratio", "dt_rank", "routes")
        gain = 0.0 if a.zero_init_residual else 1.0

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            shares = a.global_ratio[i], a.local_ratio[i]
            mixer = MRFFI(dim, *shares, a.kernels[i], gain, **ssm)
            return MobileMambaBlock(dim, mixer, gain, drop_path_rate)

        return Pyramid(
            stem=partial(_stem, in_channels),
            block=block,
            downsample=partial(Transition, gain=gain),
            head=NormLinear,
            start=None,
        )

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.head = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.head(x_BHWC.mean((1, 2)))

    def fuse(self) -> "MobileMamba":
        """A copy for inference with the same output and no batch norms. Load weights first.

        They, the scales and the depthwise residuals go into the convolutions.

        Raises:
            RuntimeError: it is fused already.
        """
        return fused_copy(self)

    def fuse_(self) -> None:
        # `fused_copy` sets it on what it is given; this tells a backbone that is fused within a
        # detector.
        self.is_fused = True

    def train(self, mode: bool = True) -> "MobileMamba":
        if mode and self.is_fused:
            raise RuntimeError(
                "this MobileMamba is fused, without batch norms: train the model that fuse() copied"
            )
        return super().train(mode)

    def load_weights(self, weights: str | PathLike | Mapping[str, Tensor]) -> Report:
        if self.is_fused:
            raise CheckpointError(
                "this MobileMamba is fused: load weights into the model before fuse(), or what its "
                "own state_dict() gave with load_state_dict()"
            )
        return super().load_weights(weights)
