"""SUM's encoder: a VMamba whose maps leave between its stages."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mmseg.registry import MODELS
from torch import Tensor

from mmmamba.layers import PatchMerging, channels_first

from ...backbones.vmamba import VMamba, VMambaArch
from ...trunks.pyramid import DOWNSAMPLES, Pyramid, PyramidArch

MULTIPLE = 32
"""The decoder doubles the deepest map three times over: sides of the first hold 8 of its cells."""


# Under mmseg's name alone: its maps are inputs of stages, which no other neck or head expects.
@MODELS.register_module()
class SUMEncoder(VMamba):
    """A VMamba that gives what SUM's decoder adds.

    That is the map that enters each stage but the first, as the step down left it, and what leaves
    the last: for `vmamba_v0_s` widths 192, 384, 768, 768 at strides 8, 16, 32, 32. No norm is at
    the ends. Its arguments are VMamba's; `Pretrained` takes VMamba's ImageNet files.

    Raises:
        ValueError: `out_indices` that are not all stages, or `classifier`; in a pass, sides that
            the decoder could not put together again.
    """

    OUTPUT_NORMS = False

    def build(self, a: VMambaArch, in_channels: int) -> Pyramid:
        parts = super().build(a, in_channels)
        if parts.downsample is not DOWNSAMPLES["merging"]:
            return parts
        # The authors' code is that of early VMamba, which left odd rows and columns out.
        return replace(parts, downsample=partial(PatchMerging, crop=True))

    def _assemble(
        self, a: PyramidArch, parts: Pyramid, out_indices: Sequence[int] | None, num_classes: int
    ) -> None:
        stages = len(a.depths)
        if out_indices is not None and tuple(out_indices) != tuple(range(stages)):
            raise ValueError(
                f"out_indices of {type(self).__name__} is {tuple(out_indices)}: the decoder reads "
                f"all {stages} maps, leave it out"
            )
        if self.is_classifier:
            raise ValueError(
                f"{type(self).__name__} has no classifier: VMamba is the backbone that has one"
            )
        super()._assemble(a, parts, out_indices, num_classes)
        steps = range(stages - 1)
        self.out_channels = [*(self.dims[i + 1] for i in steps), self.dims[-1]]
        self.out_strides = [*(self.STRIDES[i + 1] for i in steps), self.STRIDES[stages - 1]]

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Images `(B, 3, H, W)` to the maps `(B, C, H, W)` that the decoder reads."""
        check_sides(*x_BCHW.shape[2:])
        x = self._stem(x_BCHW)
        maps = []
        for stage in self.stages:
            x = stage(x)
            if stage.downsample is not None:
                x = stage.downsample(x)
            maps.append(channels_first(x))
        return self._leaving(maps)


def fits(side: int) -> bool:
    """Whether maps of an image's side are halved three times without a rest.

    Up to three pixels more than a multiple of 32 are cut off by the first layer.
    """
    return side >= MULTIPLE and side % MULTIPLE < 4


def check_sides(height: int, width: int) -> None:
    """Refuse images whose maps would not meet again in the decoder.

    Raises:
        ValueError: a side that does not `fit`.
    """
    # Sides of a graph that takes any are symbols while it is traced.
    if not (isinstance(height, int) and isinstance(width, int)):
        return
    if not (fits(height) and fits(width)):
        raise ValueError(
            f"SUM got images of {height} x {width} pixels: its decoder doubles three times what "
            f"the encoder halved, so that sides have to be multiples of {MULTIPLE}, or up to 3 "
            "pixels more. Resize them in the pipeline: dict(type='Resize', scale=(256, 256), "
            "keep_ratio=False)"
        )
