"""The trunk of stages, each at half the sides of the one before: strides 4, 8, 16, 32 as a rule."""

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmmamba.checkpoints import OUTPUT_NORMS as OUTPUT_NORM_NAMES
from mmmamba.layers import (
    LayerNorm,
    NormPoolHead,
    PatchMerging,
    Stage,
    channels_first,
    channels_last,
    conv_downsample,
    conv_stem,
    patch_stem,
)

from .arch import BaseArch
from .base import MambaBackbone, drop_path_rates, init_linears

STEMS = {"conv": conv_stem, "patch": patch_stem}
"""Images to the first stage's map at stride 4, `stem(in_channels, dim)`, by name."""
DOWNSAMPLES = {"conv": conv_downsample, "merging": PatchMerging}
"""A map to the next stage's at half the sides, `step(dim, out_dim)`, by name."""


@dataclass(frozen=True, kw_only=True)
class PyramidArch(BaseArch):
    """What every pyramid's architecture says.

    Args:
        embed_dims: width of the first stage, doubled by each later one, or the width of each.
        depths: blocks of each stage.
        drop_path_rate: of the last block, rising from 0 at the first.
    """

    embed_dims: int | Sequence[int]
    depths: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """The parts of a pyramid, as functions that make them: random starts are drawn in one order.

    Args:
        stem: `stem(dim)` makes what turns images into the first stage's map.
        block: `block(i, j, dim, drop_path_rate)` makes the j-th block of stage i. Blocks take and
            return maps `(B, H, W, dim)`.
        downsample: `downsample(dim, out_dim)` makes the step between two stages.
        downsample_first: the step is made before the blocks in front of it.
        head: `head(dim, num_classes)` makes the classifier.
        stage: `stage(i, blocks, downsample, with_cp)` makes stage i of its blocks.
        start: what is applied to every module at the end, over the modules' own start; None for
            nothing.
    """

    stem: Callable[[int], nn.Module]
    block: Callable[[int, int, int, float], nn.Module]
    downsample: Callable[[int, int], nn.Module]
    downsample_first: bool = False
    head: Callable[[int, int], nn.Module] = NormPoolHead
    stage: Callable[[int, list[nn.Module], nn.Module | None, bool], Stage] = (
        lambda i, blocks, downsample, with_cp: Stage(blocks, downsample, with_cp)
    )
    start: Callable[[nn.Module], None] | None = init_linears


class PyramidBackbone(MambaBackbone):
    """A stem, then stages with a step down between them.

    A family's `build` returns a `Pyramid`. The stem and the stages are registered under the names
    that its checkpoints use, `STEM` and `STAGES`. Maps are normalised on their way out, by
    `outnorm{i}`, where `OUTPUT_NORMS`; a family that does something else there overrides `_output`
    and `_output_parts`.
    """

    STEM: ClassVar[str] = "patch_embed"
    STAGES: ClassVar[str] = "layers"
    STRIDES: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)
    OUTPUT_NORMS: ClassVar[bool] = True
    OF_MAPS = (OUTPUT_NORM_NAMES,)
    OF_CLASSIFIER = (r"classifier\..*",)
    OUT_INDICES: ClassVar[tuple[int, ...] | None] = None
    """What `out_indices` is where nobody says; all stages if None."""

    @abstractmethod
    def build(self, a: Any, in_channels: int) -> Pyramid: ...

    def _assemble(
        self,
        a: PyramidArch,
        parts: Pyramid,
        out_indices: Sequence[int] | None,
        num_classes: int,
    ) -> None:
        family = type(self).__name__
        self.dims = stage_widths(family, a.embed_dims, a.depths, len(self.STRIDES))
        if out_indices is None:
            out_indices = self.OUT_INDICES or range(len(self.dims))
        self.out_indices = self._check_out_indices(out_indices, len(self.dims))
        self.out_channels = [self.dims[i] for i in self.out_indices]
        self.out_strides = [self.STRIDES[i] for i in self.out_indices]
        # Made in this order, and all stages even where the last are left out, so that a seed
        # always starts from the same weights.
        stages = self._make_stages(a, parts)
        stem = parts.stem(self.dims[0])
        head = parts.head(self.dims[-1], num_classes) if self.is_classifier else None
        if not self.is_classifier:
            stages = self._without_unused(stages)
        self.add_module(self.STEM, stem)
        self.add_module(self.STAGES, nn.ModuleList(stages))
        if head is not None:
            self._add_classifier(head)
        elif self.OUTPUT_NORMS:
            for i in self.out_indices:
                self.add_module(f"outnorm{i}", LayerNorm(self.dims[i]))
        if parts.start is not None:
            self.apply(parts.start)

    def _make_stages(self, a: PyramidArch, parts: Pyramid) -> list[Stage]:
        stages = []
        for i, rates in enumerate(drop_path_rates(a.drop_path_rate, a.depths)):
            # Which is made first draws its random numbers first, which decides what a seed starts
            # from.
            if parts.downsample_first:
                downsample = self._make_step(i, parts)
                blocks = self._make_blocks(i, parts, rates)
            else:
                blocks = self._make_blocks(i, parts, rates)
                downsample = self._make_step(i, parts)
            stages.append(parts.stage(i, blocks, downsample, self.with_cp))
        return stages

    def _make_blocks(self, i: int, parts: Pyramid, rates: list[float]) -> list[nn.Module]:
        return [parts.block(i, j, self.dims[i], rate) for j, rate in enumerate(rates)]

    def _make_step(self, i: int, parts: Pyramid) -> nn.Module | None:
        """What follows stage i; nothing follows the last."""
        return parts.downsample(*self.dims[i : i + 2]) if i + 1 < len(self.dims) else None

    def _without_unused(self, stages: list[Stage]) -> list[Stage]:
        """The stages up to the last that is asked for."""
        last = self.out_indices[-1]
        patterns: list[str] = []
        for i in range(last + 1, len(stages)):
            # The step into a stage is registered with the stage before it.
            patterns += [rf"{self.STAGES}\.{i - 1}\.downsample\..*", rf"{self.STAGES}\.{i}\..*"]
        self.not_built = tuple(patterns)
        stages[last].downsample = None
        return stages[: last + 1]

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.classifier = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.classifier(x_BHWC)

    def open_classifier(self, x_BCHW: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self.forward_features(x_BCHW), self.forward_head

    def _output(self, i: int, x_BHWC: Tensor) -> Tensor:
        """The map `(B, C, H, W)` that leaves, from what stage i returned."""
        return channels_first(getattr(self, f"outnorm{i}")(x_BHWC) if self.OUTPUT_NORMS else x_BHWC)

    def _output_parts(self, i: int) -> list[nn.Module]:
        """The modules that the stage's map passes through in `_output`."""
        # Only stages that are asked for have a norm, and a classifier has none.
        return [getattr(self, f"outnorm{i}")] if hasattr(self, f"outnorm{i}") else []

    @property
    def stages(self) -> Sequence[Stage]:
        return getattr(self, self.STAGES)

    def _parts(self) -> list[list[nn.Module]]:
        parts = [[getattr(self, self.STEM)]]
        for i, stage in enumerate(self.stages):
            parts.append([stage.blocks, *self._output_parts(i)])
            if stage.norm is not None:
                parts[-1].append(stage.norm)
            if i > 0:
                # The step into a stage is frozen with it, as in mmdet's.
                parts[-1].append(self.stages[i - 1].downsample)
        return parts

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        name = param_name.removeprefix(prefix)
        # Where each stage begins.
        starts = [1]
        for stage in self.stages:
            starts.append(starts[-1] + len(stage.blocks))
        depths = starts[-1] + 1
        if name.startswith(f"{self.STEM}."):
            return 0, depths
        found = re.match(rf"{self.STAGES}\.(\d+)\.(?:blocks\.(\d+)|(downsample))?", name)
        if found is None:
            return depths - 1, depths
        start, after = starts[int(found[1])], starts[int(found[1]) + 1]
        if found[2] is not None:
            return start + int(found[2]), depths
        return (after if found[3] else after - 1), depths

    def offered(self) -> dict[int, int]:
        return dict(zip(self.STRIDES, self.dims))

    def asking_for(self, strides: Sequence[int]) -> dict[str, Any]:
        return dict(out_indices=tuple(self.STRIDES.index(stride) for stride in strides))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, H, W)` or to logits `(B, classes)`.

        Maps are channels-last in memory unless `contiguous_maps`.
        """
        if self.is_classifier:
            return self._classify(self._last(x_BCHW))
        x = self._stem(x_BCHW)
        maps = []
        for i, stage in enumerate(self.stages):
            entered, x = x, stage(x)
            if i in self.out_indices:
                # Where nothing is watched, a map need not be kept beside what leaves of it.
                maps.append(x if self.training else self._output(i, x))
            if stage.downsample is not None:
                x = stage.step_down(x, entered)
        # After the last stage, as what is watched together has to be one operation of the graph.
        if self.training:
            watched = self._watched(maps, [self._output_parts(i) for i in self.out_indices])
            maps = [self._output(i, x) for i, x in zip(self.out_indices, watched)]
        return self._leaving(maps)

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """The last map `(B, C, H, W)`, which a classifier reads."""
        return channels_first(self._last(x_BCHW))

    def forward_head(self, features_BCHW: Tensor) -> Tensor:
        """A classifier's logits of its `forward_features`."""
        return self._classify(channels_last(features_BCHW))

    def _stem(self, x_BCHW: Tensor) -> Tensor:
        # Channels-last from the start: all views between the two layouts are free from here on.
        return getattr(self, self.STEM)(x_BCHW.contiguous(memory_format=torch.channels_last))

    def _last(self, x_BCHW: Tensor) -> Tensor:
        x = self._stem(x_BCHW)
        for stage in self.stages:
            entered, x = x, stage(x)
            if stage.downsample is not None:
                x = stage.step_down(x, entered)
        return x


def stage_widths(
    family: str, embed_dims: int | Sequence[int], depths: Sequence[int], most: int
) -> list[int]:
    """The width of each stage.

    Args:
        family: its name, for messages.
        most: how many stages it can have.

    Raises:
        ValueError: no stages, too many, or not as many widths as stages.
    """
    if not 0 < len(depths) <= most:
        raise ValueError(
            f"depths of {family} is {tuple(depths)}, wanted one entry a stage, {most} at most"
        )
    if isinstance(embed_dims, int):
        return [embed_dims * 2**i for i in range(len(depths))]
    check_per_stage(family, len(depths), embed_dims=embed_dims)
    return list(embed_dims)


def check_per_stage(family: str, stages: int, **values: Sequence[Any]) -> None:
    """Refuse arguments that have not one entry for each stage.

    Args:
        family: its name, for messages.
        values: the arguments, by name.

    Raises:
        ValueError: another number of entries.
    """
    for name, value in values.items():
        if len(value) != stages:
            raise ValueError(
                f"{name} of {family} is {tuple(value)}, wanted {stages} entries, one a stage"
            )
