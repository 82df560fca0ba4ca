"""MambaVision (Hatamizadeh & Kautz, arXiv 2407.08083, CVPR 2025): convolutions, then scans and attention in windows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers import (
    Attention,
    LayerNorm,
    MapWalk,
    Mlp,
    SplitMixer,
    Stage,
    channels_first,
    channels_last,
    drop_path,
    window_cells,
    window_join,
    window_partition,
)

from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates, init_linears


class ConvBlock(nn.Module):
    """`x + BN(conv(GELU(BN(conv(x)))))`, the block of the first two stages.

    GELU is in its tanh form.
    """

    def __init__(self, dim: int, drop_path_rate: float):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(dim)
        self.act1 = nn.GELU(approximate="tanh")
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(dim)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = channels_first(x_BHWC)
        x = x + self.drop_path(self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x))))))
        return channels_last(x)


class WindowBlock(nn.Module):
    """`x + g1 mixer(LN(x))`, then `x + g2 mlp(LN(x))` on `(windows, tokens, C)`."""

    def __init__(
        self,
        dim: int,
        mixer: nn.Module,
        mlp_ratio: float,
        layer_scale: float | None,
        drop_path_rate: float,
    ):
        super().__init__()
        self.norm1 = LayerNorm(dim, feeds_linear=True)
        self.mixer = mixer
        self.norm2 = LayerNorm(dim, feeds_linear=True)
        self.mlp = Mlp(dim, mlp_ratio)
        self.drop_path = drop_path(drop_path_rate)
        self.gamma_1 = (
            nn.Parameter(torch.full((dim,), float(layer_scale)))
            if layer_scale is not None
            else None
        )
        self.gamma_2 = (
            nn.Parameter(torch.full((dim,), float(layer_scale)))
            if layer_scale is not None
            else None
        )

    def forward(self, x_WTC: Tensor) -> Tensor:
        branch_WTC = self.drop_path(_scaled(self.gamma_1, self.mixer(self.norm1(x_WTC))))
        normed_WTC, x_WTC = self.norm2(x_WTC, branch_WTC)
        return x_WTC + self.drop_path(_scaled(self.gamma_2, self.mlp(normed_WTC)))


def _scaled(gamma: Tensor | None, x: Tensor) -> Tensor:
    return x if gamma is None else gamma * x


class WindowStage(Stage):
    """A stage whose blocks see windows.

    The map is padded and cut once before the first block, joined and cropped after the last.
    Padding is not masked: pad tokens take part as any other, so the window's size belongs to the
    trained model.
    """

    def __init__(
        self, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool, window_size: int
    ):
        super().__init__(blocks, downsample, with_cp)
        self.window_size = window_size

    def forward(self, x_BHWC: Tensor) -> Tensor:
        H, W = x_BHWC.shape[1:3]
        windows_WTC = super().forward(window_partition(x_BHWC, self.window_size))
        return window_join(windows_WTC, self.window_size, H, W)

    def walk_on_map(self, walk: MapWalk, x_BHWC: Tensor) -> MapWalk:
        """A mixer's walk over one window as its walk over the map."""
        H, W = x_BHWC.shape[1:3]
        return walk.in_pieces(window_cells(H, W, self.window_size), H, W)


class ConvStem(nn.Module):
    """Two strided convolutions without bias, each with batch norm (eps 1e-4) and ReLU."""

    def __init__(self, in_channels: int, hidden: int, dim: int):
        super().__init__()
        self.conv_down = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 3, 2, 1, bias=False),
            nn.BatchNorm2d(hidden, eps=1e-4),
            nn.ReLU(),
            nn.Conv2d(hidden, dim, 3, 2, 1, bias=False),
            nn.BatchNorm2d(dim, eps=1e-4),
            nn.ReLU(),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return channels_last(self.conv_down(x_BCHW))


class Downsample(nn.Module):
    """A strided convolution without bias or norm."""

    def __init__(self, dim: int):
        super().__init__()
        self.reduction = nn.Sequential(nn.Conv2d(dim, 2 * dim, 3, 2, 1, bias=False))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(self.reduction(channels_first(x_BHWC)))


_SMALL = dict(num_heads=(2, 4, 8, 16), window_size=(8, 8, 14, 7))
_LARGE = dict(num_heads=(4, 8, 16, 32), window_size=(8, 8, 14, 7), layer_scale=1e-5)


@MODELS.register_module()
class MambaVision(PyramidBackbone):
    """Stages 0 and 1 of convolutions, stages 2 and 3 of windows: first mixers, then attention, half and half.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        dim, in_dim: width of the first stage (each later one doubles it) and inside the stem.
        depths: blocks of each stage. num_heads, window_size: four each; those of stages 0 and 1 do nothing.
        mlp_ratio: widening of the feed-forward layers.
        layer_scale: initial per-channel scale of the window blocks' branches, None for none.
        drop_path_rate: of the last block, rising from 0; in windowed stages a path is dropped per window.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.

    The windows change the answer even where one covers the map: test with those the weights were trained with
    (detection 112 and 56, segmentation 64 and 32 in the published models).
    """

    STAGES = "levels"
    ARCHS = {
        **arch_table(
            _SMALL,
            mambavision_t=dict(dim=80, in_dim=32, depths=(1, 3, 8, 4), drop_path_rate=0.2),
            mambavision_t2=dict(dim=80, in_dim=32, depths=(1, 3, 11, 4), drop_path_rate=0.2),
            mambavision_s=dict(dim=96, in_dim=64, depths=(3, 3, 7, 5), drop_path_rate=0.2),
            mambavision_b=dict(
                dim=128, in_dim=64, depths=(3, 3, 10, 5), drop_path_rate=0.3, layer_scale=1e-5
            ),
            mambavision_b_21k=dict(
                dim=128, in_dim=64, depths=(3, 3, 10, 5), drop_path_rate=0.3, layer_scale=1e-5
            ),
        ),
        **arch_table(
            _LARGE,
            mambavision_l=dict(dim=196, in_dim=64, depths=(3, 3, 10, 5), drop_path_rate=0.3),
            mambavision_l_21k=dict(dim=196, in_dim=64, depths=(3, 3, 10, 5), drop_path_rate=0.3),
            mambavision_l2=dict(dim=196, in_dim=64, depths=(3, 3, 12, 5), drop_path_rate=0.3),
            mambavision_l2_512_21k=dict(
                dim=196,
                in_dim=64,
                depths=(3, 3, 12, 5),
                drop_path_rate=0.3,
                window_size=(8, 8, 32, 16),
            ),
            mambavision_l3_256_21k=dict(
                dim=256,
                in_dim=64,
                depths=(3, 3, 20, 10),
                drop_path_rate=0.5,
                window_size=(8, 8, 16, 8),
            ),
            mambavision_l3_512_21k=dict(
                dim=256,
                in_dim=64,
                depths=(3, 3, 20, 10),
                drop_path_rate=0.5,
                window_size=(8, 8, 32, 16),
            ),
        ),
    }
    DEFAULTS = dict(mlp_ratio=4.0, layer_scale=None, drop_path_rate=0.0)
    TINY = dict(
        arch=dict(
            dim=16, in_dim=8, depths=(1, 1, 3, 2), num_heads=(1, 1, 2, 4), window_size=(8, 8, 4, 2)
        )
    )

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "mambavision_t",
        *,
        in_channels: int = 3,
        dim: int | None = None,
        in_dim: int | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        window_size: Sequence[int] | None = None,
        mlp_ratio: float | None = None,
        layer_scale: float | None = None,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        classifier: bool = False,
        num_classes: int = 1000,
        init_cfg: dict | None = None,
    ):
        super().__init__(frozen_stages, norm_eval, init_cfg)
        a = self._choose(
            arch,
            dim=dim,
            in_dim=in_dim,
            depths=depths,
            num_heads=num_heads,
            window_size=window_size,
            mlp_ratio=mlp_ratio,
            layer_scale=layer_scale,
            drop_path_rate=drop_path_rate,
        )
        for name in ("depths", "num_heads", "window_size"):
            if len(a[name]) != 4:
                raise ValueError(
                    f"{name} of MambaVision is {tuple(a[name])}, wanted four entries, one a stage"
                )
        dims = [a["dim"] * 2**i for i in range(4)]
        stages = []
        for i, rates in enumerate(drop_path_rates(a["drop_path_rate"], a["depths"])):
            step = Downsample(dims[i]) if i < 3 else None
            if i < 2:
                stages.append(Stage([ConvBlock(dims[i], rate) for rate in rates], step, with_cp))
                continue
            mixers = (len(rates) + 1) // 2
            blocks = [
                WindowBlock(
                    dims[i],
                    SplitMixer(dims[i]) if j < mixers else Attention(dims[i], a["num_heads"][i]),
                    a["mlp_ratio"],
                    a["layer_scale"],
                    rate,
                )
                for j, rate in enumerate(rates)
            ]
            stages.append(WindowStage(blocks, step, with_cp, a["window_size"][i]))
        self._assemble(
            ConvStem(in_channels, a["in_dim"], dims[0]),
            stages,
            dims,
            out_indices,
            nn.Linear(dims[-1], num_classes) if classifier else None,
        )
        # Over the mixers' own start of dt_proj, as in the original's training.
        self.apply(init_linears)

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.norm = nn.BatchNorm2d(self.dims[-1])
        self.head = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.head(self.norm(channels_first(x_BHWC)).mean((2, 3)))
