"""The trunk of four stages at strides 4, 8, 16, 32 (or what its stem and downsampling make of them)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.layers import LayerNorm, Stage, channels_first

from .base import MambaBackbone


class PyramidBackbone(MambaBackbone):
    """A stem, then stages with a step down between them; outputs are normalised before they leave (`OUTPUT_NORMS`).

    A family builds `stem` (images to channels-last maps) and `stages` in its constructor and registers them under the
    names its checkpoints use, `STEM` and `STAGES`; `outnorm{i}` and the classifier come from here or are its own.
    """

    STEM = "patch_embed"
    STAGES = "layers"
    STRIDES = (4, 8, 16, 32)
    OUTPUT_NORMS = True

    def _assemble(
        self,
        stem: nn.Module,
        stages: Sequence[Stage],
        dims: Sequence[int],
        out_indices: Sequence[int],
        classifier: nn.Module | None,
    ) -> None:
        """Register the parts; `classifier`, if there is one, takes the place of the output norms.

        Stages after the last that is asked for are left out.
        """
        self.dims = list(dims)
        self.out_indices = self._check_out_indices(out_indices, len(dims))
        stages = list(stages)
        if classifier is None:
            stages = self._without_unused(stages)
        self.out_channels = [dims[i] for i in self.out_indices]
        self.out_strides = [self.STRIDES[i] for i in self.out_indices]
        self.add_module(self.STEM, stem)
        self.add_module(self.STAGES, nn.ModuleList(stages))
        self.is_classifier = classifier is not None
        if classifier is not None:
            self._add_classifier(classifier)
        elif self.OUTPUT_NORMS:
            for i in self.out_indices:
                self.add_module(f"outnorm{i}", LayerNorm(dims[i]))
        self._freeze()

    def _without_unused(self, stages: list[Stage]) -> list[Stage]:
        last = self.out_indices[-1]
        self.not_built = tuple(
            pattern
            for i in range(last + 1, len(stages))
            for pattern in (rf"{self.STAGES}\.{i - 1}\.downsample\..*", rf"{self.STAGES}\.{i}\..*")
        )
        stages[last].downsample = None
        return stages[: last + 1]

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.classifier = classifier

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        return self.classifier(x_BHWC)

    def _output(self, i: int, x_BHWC: Tensor) -> Tensor:
        """What leaves of the stage's map."""
        return channels_first(getattr(self, f"outnorm{i}")(x_BHWC) if self.OUTPUT_NORMS else x_BHWC)

    def _output_parts(self, i: int) -> list[nn.Module]:
        """The modules that the stage's map passes through in `_output`."""
        return [getattr(self, f"outnorm{i}")] if hasattr(self, f"outnorm{i}") else []

    @property
    def stages(self) -> nn.ModuleList:
        return getattr(self, self.STAGES)

    def _parts(self) -> list[list[nn.Module]]:
        parts = [[getattr(self, self.STEM)]]
        for i, stage in enumerate(self.stages):
            parts.append([stage.blocks, *self._output_parts(i)])
            if i > 0:
                parts[-1].append(self.stages[i - 1].downsample)
        return parts

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, H, W)` or to logits `(B, classes)`.

        Maps are channels-last in memory unless `contiguous_maps`.
        """
        x = getattr(self, self.STEM)(x_BCHW.contiguous(memory_format=torch.channels_last))
        wanted = () if self.is_classifier else self.out_indices
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in wanted:
                # Where nothing is watched, a map need not be kept beside what leaves of it.
                maps.append(x if self.training else self._output(i, x))
            if stage.downsample is not None:
                x = stage.downsample(x)
        if self.is_classifier:
            return self._classify(x)
        if self.training:
            watched = self._watched(maps, [self._output_parts(i) for i in wanted])
            maps = [self._output(i, x) for i, x in zip(wanted, watched)]
        return self._leaving(maps)


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates rising linearly from 0 at the first block to `rate` at the last, stage by stage."""
    last = max(sum(depths) - 1, 1)
    rates = [rate * i / last for i in range(sum(depths))]
    return [rates[sum(depths[:i]) : sum(depths[: i + 1])] for i in range(len(depths))]


def init_linears(module: nn.Module) -> None:
    """Truncated normal of std 0.02, biases zero (for `module.apply`): what most of the families start from."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def arch_table(base: dict[str, Any], **variants: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Variants that differ from a common base."""
    return {name: base | variant for name, variant in variants.items()}
