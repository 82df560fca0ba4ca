"""Instance masks as one bit a pixel, from the data pipeline to where targets are cropped."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from mmdet.structures.mask import BitmapMasks
from torch import Tensor

from mmmamba.ops.waiting import on_device

from .region_masks import RegionMasks

PIXELS_PER_BYTE = 8


class PackedMasks(BitmapMasks):
    """Masks of 0 and 1, eight pixels to a byte, that go to a GPU with the boxes.

    They are padded when they are read. Wherever mmdet takes `BitmapMasks` it takes these: `masks`
    unpacks them to an array. Shape suffixes: N masks, H, W pixels, P boxes.

    Args:
        masks: `(N, height, width)`.

    Raises:
        ValueError: a value is neither 0 nor 1.
    """

    def __init__(self, masks: np.ndarray | list[np.ndarray], height: int, width: int):
        masks_NHW = BitmapMasks(masks, height, width).masks
        _check_binary(masks_NHW)
        self.height, self.width = height, width
        # (N, rows, bytes of a row). Rows and bytes may be fewer than height and width need: `pad`
        # changes the sizes alone, and `unpack` fills up with 0.
        self.bits = torch.from_numpy(np.packbits(masks_NHW, axis=-1, bitorder="little"))

    @classmethod
    def of(cls, masks: BitmapMasks) -> PackedMasks:
        """The same masks; of `RegionMasks` only the regions are packed."""
        if not isinstance(masks, RegionMasks):
            return cls(masks.masks, masks.height, masks.width)
        packed = cls([], masks.height, masks.width)
        row = -(-masks.width // PIXELS_PER_BYTE)
        bits = np.zeros((len(masks), masks.height, row), dtype=np.uint8)
        for mask_HW, (top, left, pixels_HW) in zip(bits, masks.regions):
            _check_binary(pixels_HW)
            first, before = divmod(left, PIXELS_PER_BYTE)
            # From where its first byte begins.
            wide_HW = np.pad(pixels_HW, ((0, 0), (before, 0)))
            region_HW = np.packbits(wide_HW, axis=-1, bitorder="little")
            height, width = region_HW.shape
            mask_HW[top : top + height, first : first + width] = region_HW
        packed.bits = torch.from_numpy(bits)
        return packed

    @property
    def masks(self) -> np.ndarray:
        """`(N, height, width)` of uint8."""
        return self.unpack().cpu().numpy()

    def unpack(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """`(N, height, width)` of 0 and 1, on the device that holds the bits."""
        # Bit n of a byte is its pixel n ("little"), so a shift by n brings it to the front.
        shifts = on_device(tuple(range(PIXELS_PER_BYTE)), torch.uint8, self.bits.device)
        pixels_NHW = ((self.bits[..., None] >> shifts) & 1).flatten(2).to(dtype)
        # A negative padding crops the pixels that fill the last byte.
        missing = (self.width - pixels_NHW.shape[2], self.height - pixels_NHW.shape[1])
        return F.pad(pixels_NHW, (0, missing[0], 0, missing[1])) if any(missing) else pixels_NHW

    def crop_to(
        self, boxes_P4: Tensor, mask_P: Tensor, size: tuple[int, int], binarize: bool = True
    ) -> Tensor:
        """What mask `mask_P` holds in each box: `(P, *size)`, as mmdet's `crop_and_resize` has it.

        Args:
            binarize: 0 and 1; otherwise the shares of the pixels that the mask covers.
        """
        if len(boxes_P4) == 0 or len(self) == 0:
            return boxes_P4.new_zeros(len(boxes_P4), *size)
        # Proposals may reach beyond the image. mmdet clips them likewise before it crops.
        limits = (self.width, self.height) * 2
        limits_4 = on_device(limits, boxes_P4.dtype, boxes_P4.device)
        clipped_P4 = boxes_P4.clamp(min=0).minimum(limits_4)
        # RoIAlign names the map of each region in the first column: here that is the mask.
        rois_P5 = torch.cat([mask_P[:, None].to(boxes_P4.dtype), clipped_P4], dim=1)
        # Each RoI names its mask, so that no mask is copied for the boxes that share it.
        crops_P = roi_align(
            self.unpack(boxes_P4.dtype)[:, None], rois_P5, size, 1.0, 0, "avg", True
        )[:, 0]
        return (crops_P >= 0.5).to(boxes_P4.dtype) if binarize else crops_P

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> BitmapMasks:
        # Sizes alone can tell neither of ones nor of fewer pixels: mmdet does it unpacked.
        if pad_val != 0 or out_shape[0] < self.height or out_shape[1] < self.width:
            return super().pad(out_shape, pad_val)
        return self._with(self.bits, *out_shape)

    def to(self, *args: Any, **kwargs: Any) -> PackedMasks:
        """As a tensor's `to`; mmengine calls it for what a data sample holds."""
        return self._with(self.bits.to(*args, **kwargs), self.height, self.width)

    @classmethod
    def join(cls, masks: Sequence[PackedMasks]) -> PackedMasks:
        """Those of several images of one padded size, one after the other."""
        first, number = masks[0], sum(map(len, masks))
        # Padded to one size, yet each holds the rows and bytes of its own image; here all have
        # those of the padded size, so that no pixel has to be added after they are unpacked.
        row = -(-first.width // PIXELS_PER_BYTE)
        bits = first.bits.new_zeros(number, first.height, row)
        for part, one in zip(bits.split([len(one) for one in masks]), masks):
            part[:, : one.bits.shape[1], : one.bits.shape[2]] = one.bits
        return first._with(bits, first.height, first.width)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index: Any) -> PackedMasks:
        # A single index takes the first axis away; -1 brings it back as one mask.
        return self._with(
            self.bits[index].reshape(-1, *self.bits.shape[1:]), self.height, self.width
        )

    def _with(self, bits: Tensor, height: int, width: int) -> PackedMasks:
        # Without the constructor, which packs an array.
        other = copy.copy(self)
        other.bits, other.height, other.width = bits, height, width
        return other


def _check_binary(pixels: np.ndarray) -> None:
    if pixels.max(initial=0) > 1:
        raise ValueError(
            f"PackedMasks hold 0 and 1, but a pixel is {pixels.max()}; leave out PackMasks "
            "where a transform makes masks soft"
        )
