"""Packed masks hold what bitmaps hold, and mask targets cropped from them are mmdet's."""

import numpy as np
import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmmamba.datasets.transforms import PackMasks
from mmmamba.models.two_stage import mask_head
from mmmamba.models.two_stage.mask_head import PackedFCNMaskHead
from mmmamba.structures.packed_masks import PackedMasks

SIZES = [(1, 1), (7, 8), (25, 42), (33, 65)]


@pytest.fixture(autouse=True)
def names_of_mmdet() -> None:
    init_default_scope("mmdet")


def random_masks(count: int, height: int, width: int) -> BitmapMasks:
    masks = np.random.default_rng(count).integers(0, 2, (count, height, width), dtype=np.uint8)
    return BitmapMasks(masks, height, width)


def packed(masks: BitmapMasks) -> PackedMasks:
    return PackedMasks(masks.masks, masks.height, masks.width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_is_packed_comes_back(count, size):
    plain = random_masks(count, *size)
    ours = packed(plain)
    assert len(ours) == count and (ours.height, ours.width) == size
    np.testing.assert_array_equal(ours.masks, plain.masks)
    np.testing.assert_array_equal(ours.to_ndarray(), plain.to_ndarray())
    if count:
        np.testing.assert_array_equal(
            ours[np.array([count - 1, 0])].masks, plain.masks[[count - 1, 0]]
        )
        np.testing.assert_array_equal(ours.flip().masks, plain.flip().masks)
    wider = (size[0] + 3, size[1] + 13)
    np.testing.assert_array_equal(ours.pad(wider).masks, plain.pad(wider).masks)
    np.testing.assert_array_equal(
        ours.pad(wider, pad_val=1).masks, plain.pad(wider, pad_val=1).masks
    )


def test_instances_are_chosen_and_moved_with_their_masks():
    plain = random_masks(4, 9, 10)
    found = InstanceData(labels=torch.arange(4), masks=packed(plain))
    chosen = found[torch.tensor([True, False, False, True])].to("cpu")
    assert isinstance(chosen.masks, PackedMasks)
    np.testing.assert_array_equal(chosen.masks.masks, plain.masks[[0, 3]])
    assert len(found[torch.zeros(4, dtype=torch.bool)].masks) == 0


def test_soft_masks_are_refused():
    with pytest.raises(ValueError, match="a pixel is 3"):
        PackedMasks(np.full((1, 4, 4), 3, dtype=np.uint8), 4, 4)


def test_polygons_are_not_packed():
    polygons = PolygonMasks([[np.array([0.0, 0, 4, 0, 4, 4])]], 8, 8)
    with pytest.raises(TypeError, match="poly2mask"):
        PackMasks().transform(dict(gt_masks=polygons))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("form", [packed, lambda masks: masks], ids=["packed", "bitmaps"])
@pytest.mark.parametrize("together", [1, 20_000, 2**27])
def test_targets_are_those_of_mmdet(monkeypatch, together, form, soft):
    """Four images of one padded batch; the second has no instances, the third no positive box."""
    monkeypatch.setattr(mask_head, "PIXELS", together)
    torch.manual_seed(0)
    cfg = ConfigDict(mask_size=28, soft_mask_target=soft)
    plain, results, masks = [], [], []
    for count, positives, size in (
        (3, 40, (50, 61)),
        (0, 0, (40, 64)),
        (2, 0, (64, 33)),
        (4, 20, (61, 64)),
    ):
        plain.append(random_masks(count, *size))
        masks.append(form(plain[-1]).pad((64, 64)))
        # Boxes also beyond the border, and of no area.
        boxes = torch.rand(positives, 4).mul(80).sub(8)
        boxes[:, 2:] = torch.maximum(boxes[:, :2], boxes[:, 2:])
        results.append(
            ConfigDict(
                pos_priors=boxes, pos_assigned_gt_inds=torch.randint(0, max(count, 1), (positives,))
            )
        )
    theirs = [InstanceData(masks=one.pad((64, 64))) for one in plain]
    ours = [InstanceData(masks=one) for one in masks]
    wanted = FCNMaskHead().get_targets(results, theirs, cfg)
    got = PackedFCNMaskHead().get_targets(results, ours, cfg)
    assert got.shape == (60, 28, 28) and got.dtype == wanted.dtype and 0.05 < got.mean() < 0.9
    assert torch.equal(got, wanted)


def test_targets_of_polygons_are_those_of_mmdet():
    polygons = PolygonMasks([[np.array([3.0, 3, 30, 8, 20, 28])]], 32, 32)
    boxes = torch.tensor([[2.0, 2, 30, 30], [5, 5, 20, 20]])
    result = ConfigDict(pos_priors=boxes, pos_assigned_gt_inds=torch.zeros(2, dtype=torch.long))
    wanted, got = (
        head().get_targets([result], [InstanceData(masks=polygons)], ConfigDict(mask_size=14))
        for head in (FCNMaskHead, PackedFCNMaskHead)
    )
    assert torch.equal(got, wanted) and got.any()
