"""Mamba-ND of images (Li et al., arXiv 2402.05892, ECCV 2024): each block a scan another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, PositionGrid, Repository, Size
from mmmamba.layers import (
    Branch,
    CausalMixer,
    LayerNorm,
    PatchEmbed,
    ResidualBlock,
    Stage,
    TokenEmbedding,
    channels_first,
    channels_last,
    drop_path,
    dropped,
    pad_to_multiple,
    rescale,
)

from ..trunks.arch import BaseArch
from ..trunks.pyramid import Pyramid, PyramidBackbone

ROUTES = ("row", "row_reversed", "column", "column_reversed")
MAPS = 2
"""Stages of the column, of a map each."""
MERGED_AFTER = 10
"""Blocks before the patches are merged, as the names of the published files count them."""


def _place(found: Any) -> str:
    """A block of theirs, counted through, as one of a stage."""
    number = int(found[1])
    stage, start = (0, 0) if number < MERGED_AFTER else (1, MERGED_AFTER)
    part = "op" if found[2] == "mixer" else found[2]
    return f"column.{stage}.blocks.{number - start}.{part}."


_KEY_MAP = KeyMap(
    under=("state_dict",),
    beside=("head.",),
    renames=(
        (r"^pos_embed$", "patch_embed.tokens.pos_embed"),
        (r"^patch_embed\.projection\.", "patch_embed.patches.proj."),
        (r"^layers\.(\d+)\.(norm|mixer)\.", _place),
        (rf"^layers\.{MERGED_AFTER - 1}\.down_sample_layer\.", "column.0.downsample."),
        (r"^ln1\.", "column.1.norm."),
        (r"^ln2\.", "classifier.norm."),
        (r"^head\.fc\.", "classifier.head."),
    ),
    resize=(
        (r"patch_embed\.tokens\.pos_embed", PositionGrid(grid_size="patch_embed.tokens.grid_size")),
    ),
    may_be_missing=(r"fpn\d\..*",),
    may_be_surplus=(r"classifier\.(norm|head)\..*",),
    fingerprint=Fingerprint(
        block=r"column\.(\d+)\.blocks\.(\d+)\.op\.A_log",
        widths=(r"column\.1\.norm\.weight",),
        variants={(10, 14, 384): "mamba_nd_s", (10, 14, 768): "mamba_nd_b"},
    ),
    mark=r"down_sample_layer\.reduction\.|^column\.0\.downsample\.reduction\.",
)
_file = Repository(
    source="https://github.com/jacklishufan/Mamba-ND",
    licence="none stated",
    files="https://huggingface.co/jacklishufan/Mamba-ND/resolve/main/in1k/{}",
).file
_PUBLISHED_FILES = (
    _file("mamba_nd_s", "classification", top1=81.7, at="mamba2d_s.pth"),
    _file("mamba_nd_b", "classification", top1=83.0, at="mamba2d_b.pth"),
)
_SIZES = {"mamba_nd_s": Size("24", None), "mamba_nd_b": Size("92", None)}


class NormedBlock(ResidualBlock):
    """`n + mixer(n)` of `n = norm(x)`: what goes around the mixer is normalised too."""

    def __init__(self, dim: int, mixer: nn.Module, drop_path_rate: float):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.op = mixer
        self.drop_path = drop_path(drop_path_rate)

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        normed, _ = self.norm(x, branch)
        return normed, dropped(self.drop_path, self.op(normed))


class PositionedPatches(nn.Module):
    """Images `(B, 3, H, W)` to a map `(B, H', W', C)` of patches with positions."""

    def __init__(self, in_channels: int, dim: int, side: int, sides: tuple[int, int], drop: float):
        super().__init__()
        self.patches = PatchEmbed(in_channels, dim, side, side, pad=True)
        self.patches.proj.reset_parameters()
        self.tokens = TokenEmbedding(dim, self.patches.grid_size(*sides))
        self.drop = nn.Dropout(drop)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BLC, layout = self.tokens(self.patches(x_BCHW))
        return self.drop(x_BLC).unflatten(1, (layout.height, layout.width))


class CellMerging(nn.Module):
    """2x2 neighbours to one cell, normalised and projected; the four of a channel lie together.

    Odd sides are padded with zeros. (`PatchMerging` has the channels of a neighbour together.)
    """

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.norm = LayerNorm(4 * dim, feeds_linear=True)
        self.reduction = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BCHW = F.pixel_unshuffle(pad_to_multiple(channels_first(x_BHWC), 2), 2)
        return self.reduction(self.norm(channels_last(x_BCHW)))


class MeanNormHead(nn.Module):
    """Mean over the map, LayerNorm, linear: `(B, H, W, C)` to `(B, classes)`."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.norm = LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.head(self.norm(x_BHWC.mean((1, 2))))


@dataclass(frozen=True, kw_only=True)
class MambaNDArch(BaseArch):
    """What a Mamba-ND's architecture says.

    Args:
        embed_dims: width.
        depths: blocks before the patches are merged, and after.
        img_size: side or (height, width) that the positions are learned for; they are resized to
            any other.
        patch_size: side of the patches.
        d_state, ssm_ratio, d_conv, dt_rank: of `CausalMixer`.
        drop_rate: dropout of the patches while training.
        drop_path_rate: of the last block, rising from 0 at the first.
    """

    embed_dims: int
    depths: Sequence[int] = (10, 14)
    img_size: int | Sequence[int] = 224
    patch_size: int = 8
    d_state: int = 16
    ssm_ratio: float = 2.0
    d_conv: int = 4
    dt_rank: int | str = "auto"
    drop_rate: float = 0.1
    drop_path_rate: float = 0.1


@MODELS.register_module()
class MambaND(PyramidBackbone):
    """A column of blocks that scan rows, rows back, columns and columns back by turns.

    Its patches are merged once, so that it has maps at strides 8, before the merging, and 16. Those
    at strides 4 and 32 are ours: a transposed convolution of the first, which starts at random, and
    the second pooled. Around a mixer goes its normalised input, as the weights were trained. (Where
    its authors' code folds maps that are not square, if it runs, columns are columns here.) Its
    arguments are the fields of `MambaNDArch` and those of every backbone (`MambaBackbone`).

    Raises:
        ValueError: depths of other than two stages.
    """

    STAGES = "column"
    OF_MAPS = (r"fpn\d\..*",)
    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MambaNDArch
    ARCHS = dict(mamba_nd_s=MambaNDArch(embed_dims=384), mamba_nd_b=MambaNDArch(embed_dims=768))
    TINY = dict(arch=dict(embed_dims=16, depths=(2, 2), img_size=64, d_state=4, drop_rate=0.0))

    def build(self, a: MambaNDArch, in_channels: int) -> Pyramid:
        if len(a.depths) != MAPS:
            raise ValueError(f"depths of MambaND is {tuple(a.depths)}, wanted two entries")
        sides = (a.img_size, a.img_size) if isinstance(a.img_size, int) else tuple(a.img_size)
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            # The turns go on over the merging.
            route = ROUTES[(sum(a.depths[:i]) + j) % len(ROUTES)]
            return NormedBlock(dim, CausalMixer(dim, route, **given), drop_path_rate)

        def stage(
            i: int, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool
        ) -> Stage:
            norm = LayerNorm(a.embed_dims, eps=1e-6) if downsample is None else None
            return Stage(blocks, downsample, with_cp, norm)

        return Pyramid(
            stem=lambda dim: PositionedPatches(in_channels, dim, a.patch_size, sides, a.drop_rate),
            block=block,
            downsample=CellMerging,
            head=MeanNormHead,
            stage=stage,
            start=None,
        )

    def _assemble(
        self,
        a: MambaNDArch,
        parts: Pyramid,
        out_indices: Sequence[int] | None,
        num_classes: int,
    ) -> None:
        levels = len(self.STRIDES)
        self.dims = [a.embed_dims] * levels
        chosen = range(levels) if out_indices is None else out_indices
        self.out_indices = self._check_out_indices(chosen, levels)
        self.out_channels = [self.dims[i] for i in self.out_indices]
        self.out_strides = [self.STRIDES[i] for i in self.out_indices]
        stages = self._make_stages(a, parts)
        self.patch_embed = parts.stem(a.embed_dims)
        if self.is_classifier:
            self._add_classifier(parts.head(a.embed_dims, num_classes))
        elif self.out_indices[-1] < MAPS:
            self.not_built = (r"column\.(1|0\.downsample)\..*",)
            stages[0].downsample = None
            stages = stages[:1]
        self.column = nn.ModuleList(stages)
        for i in [] if self.is_classifier else self.out_indices:
            # Of the first stage's map twice the sides and the map itself, of the other's half.
            scale = (2, 1, 1, 0.5)[i]
            self.add_module(f"fpn{i + 1}", rescale(a.embed_dims, scale, nn.BatchNorm2d)[0])

    def _make_step(self, i: int, parts: Pyramid) -> nn.Module | None:
        return parts.downsample(*self.dims[:2]) if i == 0 else None

    def _output(self, i: int, x_BHWC: Tensor) -> Tensor:
        return getattr(self, f"fpn{i + 1}")(channels_first(x_BHWC))

    def _output_parts(self, i: int) -> list[nn.Module]:
        return [getattr(self, f"fpn{i + 1}")]

    def _parts(self) -> list[list[nn.Module]]:
        # Levels are new to whoever freezes pretrained blocks, and learn.
        parts: list[list[nn.Module]] = [[self.patch_embed], [self.stages[0].blocks]]
        for stage in self.stages[1:]:
            parts.append([stage.blocks, stage.norm, self.stages[0].downsample])
        return parts

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, H, W)` or to logits `(B, classes)`."""
        if self.is_classifier:
            return self._classify(self._last(x_BCHW))
        x, made = self._stem(x_BCHW), []
        for stage in self.stages:
            x = stage(x)
            made.append(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        maps = [made[i // MAPS] for i in self.out_indices]
        if self.training:
            maps = list(self._watched(maps, [self._output_parts(i) for i in self.out_indices]))
        return self._leaving([self._output(i, x) for i, x in zip(self.out_indices, maps)])
