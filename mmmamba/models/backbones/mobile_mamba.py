"""MobileMamba (He et al., arXiv 2411.15941, CVPR 2025): three stages from stride 16, scans of part of the channels."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from mmmamba.checkpoints import CheckpointError, Report
from mmmamba.layers import Stage, ToChannelsLast, channels_first, channels_last, drop_path
from mmmamba.layers.conv_norm import (
    ConvNorm,
    Fusible,
    NormLinear,
    Residual,
    ScaleNorm,
    fused_copy,
)
from mmmamba.layers.mixers.wavelet import NormedSS2D, WaveletMixer

from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates


def split_channels(dim: int, global_ratio: float, local_ratio: float) -> tuple[int, int, int]:
    """Channels that are scanned (a multiple of 16), convolved, and passed by.

    Raises:
        ValueError: no channels left to scan or to convolve.
    """
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
        x = x + self.drop_path(self.ffn1(self.dw1(self.mixer(self.ffn0(self.dw0(x))))))
        return channels_last(x)


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


_B = dict(embed_dims=(200, 376, 448), depths=(2, 3, 2), drop_path_rate=0.03)


@MODELS.register_module()
class MobileMamba(PyramidBackbone, Fusible):
    """Three stages at strides 16, 32 and 64.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow. B1, B2 and B4 are one network, trained at 256,
            384 and 512 pixels.
        embed_dims, depths: width and number of each stage's blocks.
        global_ratio, local_ratio: the share of each stage's channels that is scanned and convolved.
        kernels: kernel size of each stage's convolutions beside the scan.
        ssm_ratio, dt_rank, routes: of `SS2D`.
        drop_path_rate: of the last block, rising from 0.
        zero_init_residual: start every inner residual at zero, as the original does.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.
    """

    STRIDES = (16, 32, 64)
    OUTPUT_NORMS = False
    ARCHS = arch_table(
        dict(drop_path_rate=0.0),
        mobilemamba_t2=dict(embed_dims=(144, 272, 368), depths=(1, 2, 2)),
        mobilemamba_t4=dict(embed_dims=(176, 368, 448), depths=(1, 2, 2)),
        mobilemamba_s6=dict(embed_dims=(192, 384, 448), depths=(1, 2, 2)),
        mobilemamba_b1=_B,
        mobilemamba_b2=_B,
        mobilemamba_b4=_B,
    )
    DEFAULTS = dict(
        global_ratio=(0.8, 0.7, 0.6),
        local_ratio=(0.2, 0.2, 0.3),
        kernels=(7, 5, 3),
        ssm_ratio=2.0,
        dt_rank="auto",
        routes=("row", "row_reversed"),
        drop_path_rate=0.0,
    )
    TINY = dict(arch=dict(embed_dims=(40, 64, 80), depths=(1, 1, 1)), zero_init_residual=False)

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mobilemamba_t2",
        *,
        in_channels: int = 3,
        embed_dims: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        global_ratio: Sequence[float] | None = None,
        local_ratio: Sequence[float] | None = None,
        kernels: Sequence[int] | None = None,
        ssm_ratio: float | None = None,
        dt_rank: int | str | None = None,
        routes: Sequence[str] | None = None,
        drop_path_rate: float | None = None,
        zero_init_residual: bool = True,
        out_indices: Sequence[int] = (0, 1, 2),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        classifier: bool = False,
        num_classes: int = 1000,
        init_cfg: dict | None = None,
    ):
        super().__init__(frozen_stages, norm_eval, init_cfg)
        self.is_fused = False
        a = self._choose(
            arch,
            embed_dims=embed_dims,
            depths=depths,
            global_ratio=global_ratio,
            local_ratio=local_ratio,
            kernels=kernels,
            ssm_ratio=ssm_ratio,
            dt_rank=dt_rank,
            routes=routes,
            drop_path_rate=drop_path_rate,
        )
        dims, gain = a["embed_dims"], 0.0 if zero_init_residual else 1.0
        for name in ("embed_dims", "depths", "global_ratio", "local_ratio", "kernels"):
            if len(a[name]) != 3:
                raise ValueError(
                    f"{name} of MobileMamba is {tuple(a[name])}, wanted three entries, one a stage"
                )
        ssm = {key: a[key] for key in ("ssm_ratio", "dt_rank", "routes")}
        stages = []
        for i, rates in enumerate(drop_path_rates(a["drop_path_rate"], a["depths"])):
            mrffi = (a["global_ratio"][i], a["local_ratio"][i], a["kernels"][i], gain)
            blocks = [
                MobileMambaBlock(dims[i], MRFFI(dims[i], *mrffi, **ssm), gain, rate)
                for rate in rates
            ]
            stages.append(
                Stage(blocks, Transition(dims[i], dims[i + 1], gain) if i < 2 else None, with_cp)
            )
        self._assemble(
            _stem(in_channels, dims[0]),
            stages,
            dims,
            out_indices,
            NormLinear(dims[-1], num_classes) if classifier else None,
        )

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.head = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.head(x_BHWC.mean((1, 2)))

    def fuse(self) -> "MobileMamba":
        """A copy for inference with the same output and no batch norms: they, the scales and the depthwise residuals
        go into the convolutions. Load weights first.

        Raises:
            RuntimeError: it is fused already.
        """
        return fused_copy(self)

    def fuse_(self) -> None:
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
