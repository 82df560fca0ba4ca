"""A column within an adapter (ViT-Adapter, arXiv 2205.08534): maps at strides 4, 8, 16 and 32.

A small convolutional network makes three maps of the image beside the column's. The column's blocks
run in groups; before each the column reads from the maps, and after it they read from the column.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.layers import TokenLayout, channels_first, pad_to_multiple
from mmmamba.layers.deformable_attention import DeformableAttention
from mmmamba.layers.vit_adapter import Extractor, Injector, Interaction, Sizes, SpatialPrior

from .base import init_linears
from .column import PYRAMID_STRIDES, STAGES, Column, ColumnArch, PlainBackbone, four_blocks

EXTRA = 2
"""Extractors after the last group beside its first."""
ADAPTER_NAMES = (
    (r"^spm\.stem\.([036])\.weight$", lambda m: f"spm.stem.{int(m[1]) // 3}.conv.weight"),
    (r"^spm\.stem\.([147])\.(\w+)$", lambda m: f"spm.stem.{int(m[1]) // 3}.norm.{m[2]}"),
    (r"^spm\.conv(\d)\.0\.", r"spm.conv\1.conv."),
    (r"^spm\.conv(\d)\.1\.", r"spm.conv\1.norm."),
    (r"\.ffn\.dwconv\.dwconv\.", ".ffn.dwconv."),
)
"""Names of published adapters and ours, for a `KeyMap`'s `renames`."""
ADAPTER = r"(level_embed|(spm|interactions|up|ad_norm\d)\..*)"
"""Pattern of all names of an adapter, which a classifier's file lacks."""


@dataclass(frozen=True, kw_only=True)
class AdaptedArch(ColumnArch):
    """What the architecture of a column that can stand in an adapter says, beside `ColumnArch`.

    Args:
        adapter: put it into one. `out_indices` then counts the four maps; classifiers have none.
        conv_inplane: width of the stem of the spatial prior.
        deform_num_heads, n_points: heads of the deformable attention, and points of each on a map.
        cffn_ratio: width of the adapter's feed-forward layers, as a part of the column's.
    """

    adapter: bool = False
    conv_inplane: int = 64
    deform_num_heads: int = 6
    n_points: int = 4
    cffn_ratio: float = 0.25


class AdaptedBackbone(PlainBackbone):
    """A column that an adapter can be put around, before its own trunk in a family's bases.

    `class Family(AdaptedBackbone, MapBackbone)`: whatever runs blocks by `_run` will do. With
    `adapter` off it is the other trunk alone.

    Images are filled with zeros at the right and the bottom to multiples of 32, as detectors fill
    them, and the maps cut to what the image covers.
    """

    def _assemble(
        self,
        a: AdaptedArch,  # type: ignore[override]
        parts: Column,
        out_indices: Sequence[int] | None,
        num_classes: int,
    ) -> None:
        self.adapted = a.adapter and not self.is_classifier
        if not self.adapted:
            super()._assemble(a, parts, out_indices, num_classes)
            return
        family = type(self).__name__
        if a.pyramid:
            raise ValueError(
                f"pyramid of {family} is {a.pyramid} with adapter=True, which brings maps to "
                f"strides {PYRAMID_STRIDES} by itself; leave pyramid out"
            )
        wanted = range(STAGES) if out_indices is None else out_indices
        maps = self._check_out_indices(wanted, STAGES)
        # The maps take the column's end as it is: without a norm.
        parts = dataclasses.replace(parts, out_norm=None)
        super()._assemble(a, parts, (len(parts.blocks) - 1,), num_classes)
        self.out_indices = maps
        self.out_channels = [a.embed_dims] * len(maps)
        self.out_strides = [PYRAMID_STRIDES[i] for i in maps]
        self.group_ends = [i + 1 for i in four_blocks(self.depth)]
        self._add_adapter(a)

    def _add_adapter(self, a: AdaptedArch) -> None:
        dim = a.embed_dims
        given = (dim, a.deform_num_heads, a.n_points)
        extractor = (*given, a.cffn_ratio, a.drop_path_rate)
        # All are made, so that a seed always starts from the same weights; those of maps that are
        # not asked for are let go, and files that hold them are no misfit.
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        self.spm = SpatialPrior(self.in_channels, dim, a.conv_inplane)
        interactions = []
        for end in self.group_ends:
            count = 1 + EXTRA if end == self.depth else 1
            extractors = [Extractor(*extractor) for _ in range(count)]
            interactions.append(Interaction(Injector(*given), extractors))
        self.interactions = nn.ModuleList(interactions)
        self.up: nn.Module | None = nn.ConvTranspose2d(dim, dim, 2, 2)
        for part in (self.spm, self.interactions, self.up):
            part.apply(_init)
        for i in self.out_indices:
            self.add_module(f"ad_norm{i + 1}", nn.BatchNorm2d(dim))
        left = [i for i in range(STAGES) if i not in self.out_indices]
        self.not_built = tuple(rf"ad_norm{i + 1}\..*" for i in left)
        if 0 in left:
            self.spm.fc1 = self.up = None
            self.not_built += (r"spm\.fc1\..*", r"up\..*")

    def offered(self) -> dict[int, int]:
        if not self.adapted:
            return super().offered()
        return dict.fromkeys(PYRAMID_STRIDES, self.out_channels[0])

    def asking_for(self, strides: Sequence[int]) -> dict[str, Any]:
        if not self.adapted:
            return super().asking_for(strides)
        return dict(out_indices=tuple(PYRAMID_STRIDES.index(stride) for stride in strides))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, ceil(H / s), ceil(W / s))` or to logits.

        Maps are channels-last in memory unless `contiguous_maps`.
        """
        if not self.adapted:
            return super().forward(x_BCHW)
        H, W = x_BCHW.shape[2:]
        maps = self._interact(pad_to_multiple(x_BCHW, PYRAMID_STRIDES[-1]))
        if self.training:
            maps = list(self._watched(maps, [self._owned(i) for i in self.out_indices]))
        left = []
        for i, m, stride in zip(self.out_indices, maps, self.out_strides):
            normed = getattr(self, f"ad_norm{i + 1}")(m)
            left.append(_cut(normed, -(-H // stride), -(-W // stride)))
        return self._leaving(left)

    def _owned(self, i: int) -> list[nn.Module]:
        """The modules that map i alone passes through."""
        modules = [getattr(self, f"ad_norm{i + 1}")]
        finest = (self.spm.fc1, self.up) if i == 0 else ()
        return modules + [m for m in finest if m is not None]

    def _interact(self, x_BCHW: Tensor) -> list[Tensor]:
        """Images whose sides are multiples of 32 to the maps asked for, before their norms."""
        finest, prior = self.spm(x_BCHW)
        sizes = [(m.shape[2], m.shape[3]) for m in prior]
        c_BSC = torch.cat([m.flatten(2).transpose(1, 2) for m in prior], 1)
        c_BSC = c_BSC + _spread(self.level_embed, sizes)
        x_BLC, layout = self._embed(x_BCHW)
        grid, start = (layout.height, layout.width), 0
        for end, interaction in zip(self.group_ends, self.interactions):
            x_BLC = self._inject(interaction.injector, x_BLC, c_BSC, layout, sizes)
            x_BLC = self._run(start, end, x_BLC, layout)
            start = end
            cells_BLC, _ = layout.cut(x_BLC)
            for extractor in interaction.extractors:
                c_BSC = self._through(extractor, c_BSC, cells_BLC, grid, sizes)
        column = channels_first(layout.cut(x_BLC)[0].unflatten(1, grid))
        return self._joined(finest, _maps(c_BSC, sizes), column)

    def _inject(
        self,
        injector: nn.Module,
        x_BLC: Tensor,
        c_BSC: Tensor,
        layout: TokenLayout,
        sizes: Sizes,
    ) -> Tensor:
        # Extra tokens belong to no place from which they could read.
        cells_BLC, extra_BEC = layout.cut(x_BLC)
        grid = (layout.height, layout.width)
        cells_BLC = self._through(injector, cells_BLC, c_BSC, grid, sizes)
        return layout.insert(cells_BLC, extra_BEC)

    def _joined(self, finest: Tensor | None, maps: list[Tensor], column: Tensor) -> list[Tensor]:
        """The maps asked for with the column's, resized, added to each."""
        # The stem's map has nothing of the interactions but through the next one.
        up = None if finest is None or self.up is None else finest + self.up(maps[0])
        found = []
        for m in ([up, *maps][i] for i in self.out_indices):
            assert m is not None
            # The finest is the largest by far: under autocast it stays in the low precision of the
            # convolutions that made it.
            found.append(m + _resized(column.to(m.dtype), m))
        return found


def _spread(table_KC: Tensor, sizes: Sizes) -> Tensor:
    """Row k of a table for each cell of map k, `(S, C)`."""
    rows = [table_KC[k].expand(H * W, -1) for k, (H, W) in enumerate(sizes)]
    return torch.cat(rows)


def _maps(c_BSC: Tensor, sizes: Sizes) -> list[Tensor]:
    """The maps `(B, C, H, W)` that a sequence holds one after another."""
    each = c_BSC.split([H * W for H, W in sizes], 1)
    return [channels_first(one.unflatten(1, size)) for one, size in zip(each, sizes)]


def _resized(x_BCHW: Tensor, like: Tensor) -> Tensor:
    """A map at another's size, bilinear."""
    size = like.shape[2:]
    if x_BCHW.shape[2:] == size:
        return x_BCHW
    return F.interpolate(x_BCHW, size, mode="bilinear", align_corners=False)


def _cut(x_BCHW: Tensor, height: int, width: int) -> Tensor:
    if x_BCHW.shape[2:] == (height, width):
        return x_BCHW
    cut = x_BCHW[:, :, :height, :width]
    return cut.contiguous(memory_format=torch.channels_last)


def _init(module: nn.Module) -> None:
    """Starts convolutions at a variance of two outputs' fan, linear layers as `init_linears`."""
    init_linears(module)
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    # Called after the layers inside it, whose start this one gives anew.
    if isinstance(module, DeformableAttention):
        module.init_weights()
