"""MambaVision (Hatamizadeh & Kautz, arXiv 2407.08083, CVPR 2025): convolutions, then windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    Attention,
    Branch,
    LayerNorm,
    MapWalk,
    Mlp,
    ResidualBlock,
    SplitMixer,
    Stage,
    added,
    channels_first,
    channels_last,
    drop_path,
    dropped,
    window_cells,
    window_join,
    window_partition,
)

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage

# The 21K variants have the shapes of their 1K twins; only their windows differ.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(
        OUTPUT_NORMS,
        r"norm\.(weight|bias|running_mean|running_var|num_batches_tracked)",
        r"head\.(weight|bias)",
    ),
    fingerprint=Fingerprint(
        block=r"levels\.(\d+)\.blocks\.(\d+)\.norm1\.weight",
        widths=(r"patch_embed\.conv_down\.3\.weight",),
        variants={
            (1, 3, 8, 4, 80): "mambavision_t",
            (1, 3, 11, 4, 80): "mambavision_t2",
            (3, 3, 7, 5, 96): "mambavision_s",
            (3, 3, 10, 5, 128): "mambavision_b or mambavision_b_21k",
            (3, 3, 10, 5, 196): "mambavision_l or mambavision_l_21k",
            (3, 3, 12, 5, 196): "mambavision_l2 or mambavision_l2_512_21k",
            (3, 3, 20, 10, 256): "mambavision_l3_256_21k or mambavision_l3_512_21k",
        },
    ),
    mark=r"^patch_embed\.conv_down\.",
)

_REPOSITORY = Repository(
    source="https://github.com/NVlabs/MambaVision",
    licence="CC-BY-NC-SA-4.0 (README); NVIDIA nvclv1, non-commercial (model cards)",
    files="https://huggingface.co/nvidia/{}",
)
_file = _REPOSITORY.file
# Each detector and segmentor lies in a repository of its own, called as the file.
_dense_file = replace(
    _REPOSITORY, files="https://huggingface.co/nvidia/{0}/resolve/main/{0}.pth"
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("mambavision_t", "classification", top1=82.3,
          at="MambaVision-T-1K/resolve/main/mambavision_tiny_1k.pth.tar"),
    _dense_file("mambavision_t", "cascade_mask_rcnn_3x", box_ap=51.1, mask_ap=44.3,
                at="cascade_mask_rcnn_mamba_vision_tiny_3x_coco"),
    _dense_file("mambavision_t", "upernet_160k", miou=46.0,
                at="mamba_vision_160k_ade20k-512x512_tiny"),
    _file("mambavision_t2", "classification", top1=82.7,
          at="MambaVision-T2-1K/resolve/main/mambavision_tiny2_1k.pth.tar"),
    _file("mambavision_s", "classification", top1=83.3,
          at="MambaVision-S-1K/resolve/main/mambavision_small_1k.pth.tar"),
    _dense_file("mambavision_s", "cascade_mask_rcnn_3x", box_ap=52.3, mask_ap=45.2,
                at="cascade_mask_rcnn_mamba_vision_small_3x_coco"),
    _dense_file("mambavision_s", "upernet_160k", miou=48.2,
                at="mamba_vision_160k_ade20k-512x512_small"),
    _file("mambavision_b", "classification", top1=84.2,
          at="MambaVision-B-1K/resolve/main/mambavision_base_1k.pth.tar"),
    _dense_file("mambavision_b", "cascade_mask_rcnn_3x", box_ap=52.8, mask_ap=45.7,
                at="cascade_mask_rcnn_mamba_vision_base_3x_coco"),
    _dense_file("mambavision_b", "upernet_160k", miou=49.1,
                at="mamba_vision_160k_ade20k-512x512_base"),
    _file("mambavision_l", "classification", top1=85.0,
          at="MambaVision-L-1K/resolve/main/mambavision_large_1k.pth.tar"),
    _file("mambavision_l2", "classification", top1=85.3,
          at="MambaVision-L2-1K/resolve/main/mambavision_large2_1k.pth.tar"),
    _file("mambavision_b_21k", "classification", top1=84.9,
          at="MambaVision-B-21K/resolve/main/mambavision_base_21k.pth.tar"),
    _file("mambavision_l_21k", "classification", top1=86.1,
          at="MambaVision-L-21K/resolve/main/mambavision_large_21k.pth.tar"),
    _file("mambavision_l2_512_21k", "classification", top1=87.3,
          at="MambaVision-L2-512-21K/resolve/main/mambavision_L2_21k_240m_512.pth.tar"),
    _file("mambavision_l3_256_21k", "classification", top1=87.3,
          at="MambaVision-L3-256-21K/resolve/main/mambavision_L3_21k_740m_256.pth.tar"),
    _file("mambavision_l3_512_21k", "classification", top1=88.1,
          at="MambaVision-L3-512-21K/resolve/main/mambavision_L3_21k_740m_512.pth.tar"),
    _dense_file("mambavision_l3_512_21k", "upernet_160k", miou=53.2,
                at="mamba_vision_160k_ade20k-640x640_l3_21k"),
)
# fmt: on
_SIZES = {
    "mambavision_t": Size("31.8", "4.4"),
    "mambavision_t2": Size("35.1", "5.1"),
    "mambavision_s": Size("50.1", "7.5"),
    "mambavision_b": Size("97.7", "15.0"),
    "mambavision_b_21k": Size("97.7", "15.0"),
    "mambavision_l": Size("227.9", "34.9"),
    "mambavision_l_21k": Size("227.9", "34.9"),
    "mambavision_l2": Size("241.5", "37.5"),
    "mambavision_l2_512_21k": Size("241.5", "196.3", 512),
    "mambavision_l3_256_21k": Size("739.6", "122.3", 256),
    "mambavision_l3_512_21k": Size("739.6", "489.1", 512),
}


class ConvBlock(nn.Module):
    """`x + BN(conv(GELU(BN(conv(x)))))`, the block of the first two stages.

    GELU is in its tanh form.
    """

    def __init__(self, dim: int, drop_path_rate: float):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(dim)
        # The windows' `Mlp` has the exact form: the published weights were trained with both.
        self.act1 = nn.GELU(approximate="tanh")
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(dim)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = channels_first(x_BHWC)
        branch = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        x = added(x, dropped(self.drop_path, branch))
        return channels_last(x)


class WindowBlock(ResidualBlock):
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
            # As a float: of a whole number `torch.full` makes integers, which cannot learn.
            nn.Parameter(torch.full((dim,), float(layer_scale)))
            if layer_scale is not None
            else None
        )
        self.gamma_2 = (
            nn.Parameter(torch.full((dim,), float(layer_scale)))
            if layer_scale is not None
            else None
        )

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        normed_WTC, x = self.norm1(x, branch)
        branch = dropped(self.drop_path, _scaled(self.gamma_1, self.mixer(normed_WTC)))
        normed_WTC, x = self.norm2(x, branch)
        return x, dropped(self.drop_path, _scaled(self.gamma_2, self.mlp(normed_WTC)))


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
        # Once for the whole stage and not for each block: no block shifts the windows.
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


@dataclass(frozen=True, kw_only=True)
class MambaVisionArch(PyramidArch):
    """What a MambaVision's architecture says, beside `PyramidArch`.

    In windowed stages a path is dropped per window.

    Args:
        embed_dims: width of the first stage, doubled by each later one.
        stem_dims: width inside the stem.
        num_heads, window_size: four each; those of stages 0 and 1 do nothing.
        mlp_ratio: widening of the feed-forward layers.
        layer_scale: initial per-channel scale of the window blocks' branches, None for none.
    """

    embed_dims: int
    stem_dims: int
    num_heads: Sequence[int]
    window_size: Sequence[int]
    mlp_ratio: float = 4.0
    layer_scale: float | None = None


_small = partial(MambaVisionArch, num_heads=(2, 4, 8, 16), window_size=(8, 8, 14, 7))
_base = partial(_small, embed_dims=128, stem_dims=64, layer_scale=1e-5, drop_path_rate=0.3)
_large = partial(_base, embed_dims=196, num_heads=(4, 8, 16, 32))
_largest = partial(_large, embed_dims=256, depths=(3, 3, 20, 10), drop_path_rate=0.5)


@MODELS.register_module()
class MambaVision(PyramidBackbone):
    """Stages 0 and 1 of convolutions, 2 and 3 of windows: mixers, then attention, half and half.

    Its arguments are the fields of `MambaVisionArch` and those of every backbone (`MambaBackbone`).
    The windows change the answer even where one covers the map: test with those the weights were
    trained with (detection 112 and 56, segmentation 64 and 32 in the published models).

    Raises:
        ValueError: not four depths, heads and windows, or several widths.
    """

    STAGES = "levels"
    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MambaVisionArch
    ARCHS = dict(
        mambavision_t=_small(embed_dims=80, stem_dims=32, depths=(1, 3, 8, 4), drop_path_rate=0.2),
        mambavision_t2=_small(
            embed_dims=80, stem_dims=32, depths=(1, 3, 11, 4), drop_path_rate=0.2
        ),
        mambavision_s=_small(embed_dims=96, stem_dims=64, depths=(3, 3, 7, 5), drop_path_rate=0.2),
        mambavision_b=_base(depths=(3, 3, 10, 5)),
        mambavision_b_21k=_base(depths=(3, 3, 10, 5)),
        mambavision_l=_large(depths=(3, 3, 10, 5)),
        mambavision_l_21k=_large(depths=(3, 3, 10, 5)),
        mambavision_l2=_large(depths=(3, 3, 12, 5)),
        mambavision_l2_512_21k=_large(depths=(3, 3, 12, 5), window_size=(8, 8, 32, 16)),
        mambavision_l3_256_21k=_largest(window_size=(8, 8, 16, 8)),
        mambavision_l3_512_21k=_largest(window_size=(8, 8, 32, 16)),
    )
    TINY = dict(
        arch=dict(
            embed_dims=16,
            stem_dims=8,
            depths=(1, 1, 3, 2),
            num_heads=(1, 1, 2, 4),
            window_size=(8, 8, 4, 2),
        )
    )

    def build(self, a: MambaVisionArch, in_channels: int) -> Pyramid:
        check_per_stage("MambaVision", 4, **a.pick("depths", "num_heads", "window_size"))
        if not isinstance(a.embed_dims, int):
            raise ValueError(
                f"embed_dims of MambaVision is {a.embed_dims}, wanted the width of the first stage "
                "alone: its steps between stages double it"
            )

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            if i < 2:
                return ConvBlock(dim, drop_path_rate)
            # Of an odd number of blocks the one in the middle is a mixer.
            mixers = (a.depths[i] + 1) // 2
            mixer = SplitMixer(dim) if j < mixers else Attention(dim, a.num_heads[i])
            return WindowBlock(dim, mixer, a.mlp_ratio, a.layer_scale, drop_path_rate)

        def stage(
            i: int, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool
        ) -> Stage:
            if i < 2:
                return Stage(blocks, downsample, with_cp)
            return WindowStage(blocks, downsample, with_cp, a.window_size[i])

        # The start of linear layers goes over the mixers' own of dt_proj too, as in the
        # original's training.
        return Pyramid(
            stem=partial(ConvStem, in_channels, a.stem_dims),
            block=block,
            downsample=lambda dim, out_dim: Downsample(dim),
            downsample_first=True,
            head=nn.Linear,
            stage=stage,
        )

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.norm = nn.BatchNorm2d(self.dims[-1])
        self.head = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.head(self.norm(channels_first(x_BHWC)).mean((2, 3)))
