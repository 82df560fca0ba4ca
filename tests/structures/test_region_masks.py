"""Masks cut out around their objects come out of a pipeline as whole ones do."""

import numpy as np
import pytest

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import TRANSFORMS, DefaultScope

from mmmamba.structures.packed_masks import PackedMasks
from mmmamba.structures.region_masks import RegionMasks


def whole(count: int, height: int, width: int) -> BitmapMasks:
    """Objects with holes; the first mask is empty, the second one full."""
    rng = np.random.default_rng(height)
    masks = np.zeros((count, height, width), dtype=np.uint8)
    for mask in masks[1:]:
        top, left = rng.integers(0, height), rng.integers(0, width)
        part = mask[top : top + rng.integers(1, height), left : left + rng.integers(1, width)]
        part[:] = rng.integers(0, 2, part.shape)
    masks[1:2] = 1
    return BitmapMasks(masks, height, width)


def check(got: BitmapMasks, wanted: BitmapMasks) -> None:
    assert (got.height, got.width, len(got)) == (wanted.height, wanted.width, len(wanted))
    assert got.masks.dtype == np.uint8 and np.array_equal(got.masks, wanted.masks)
    packed, wanted_packed = PackedMasks.of(got), PackedMasks.of(wanted)
    assert np.array_equal(packed.masks, wanted_packed.masks)


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("size", [(48, 64), (37, 91), (5, 7)])
def test_resized_and_flipped(count, size):
    masks = whole(count, *size)
    cut = RegionMasks(masks.masks, *size)
    check(cut, masks)
    for scale in (1, 0.31, 2.7, (133, 80), (40, 1000)):
        wanted = masks.rescale(scale)
        got = cut.rescale(scale)
        assert isinstance(got, RegionMasks)
        check(got, wanted)
        for direction in ("horizontal", "vertical", "diagonal"):
            flipped = got.flip(direction)
            assert isinstance(flipped, RegionMasks)
            check(flipped, wanted.flip(direction))
            check(flipped.rescale(0.7), wanted.flip(direction).rescale(0.7))


def test_every_line_is_resized_as_by_cv2():
    """Rounding decides which pixel is the nearest."""
    for old in range(2, 60, 6):
        masks = whole(3, old, 61 - old)
        cut = RegionMasks(masks.masks, old, 61 - old)
        # Smaller ones would be less than a pixel wide.
        for new in range(3 + old // (61 - old), 130, 3):
            check(cut.rescale(new / old), masks.rescale(new / old))


@pytest.mark.parametrize(
    "index",
    [
        np.array([True, False, True, True]),
        np.array([2, 0]),
        1,
        slice(1, 3),
        np.array([], dtype=int),
    ],
)
def test_a_choice_of_masks(index):
    masks = whole(4, 20, 30)
    check(RegionMasks(masks.masks, 20, 30)[index], masks[index])


def test_other_transforms_take_them_whole():
    masks = whole(4, 40, 50)
    cut = RegionMasks(masks.masks, 40, 50)
    box = np.array([5, 6, 30, 40])
    check(cut.crop(box), masks.crop(box))
    check(cut.pad((60, 64)), masks.pad((60, 64)))
    check(cut.resize((30, 20)), masks.resize((30, 20)))
    check(cut.rescale(0.5, "bilinear"), masks.rescale(0.5, "bilinear"))
    assert cut.areas.tolist() == masks.areas.tolist()


def test_the_transform():
    with DefaultScope.overwrite_default_scope("mmdet"):
        transform = TRANSFORMS.build(dict(type="CutOutMasks"))
    masks = whole(3, 20, 30)
    found = transform(dict(gt_masks=masks, img_id=7))
    assert isinstance(found["gt_masks"], RegionMasks) and found["img_id"] == 7
    with pytest.raises(TypeError, match="poly2mask"):
        transform(dict(gt_masks=PolygonMasks([], 20, 30)))


def test_soft_masks_are_not_packed():
    soft = RegionMasks(np.full((1, 4, 4), 2, dtype=np.uint8), 4, 4)
    with pytest.raises(ValueError, match="0 and 1"):
        PackedMasks.of(soft)
