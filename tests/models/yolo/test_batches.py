"""What our head finds for a whole batch is what it finds image by image."""

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmengine.registry import TASK_UTILS
from mmengine.structures import InstanceData

from mmmamba.models.yolo import batches
from mmmamba.models.yolo.assigner import NormalizedTaskAlignedAssigner
from tests.models.one_stage.cases import (
    CLASSES,
    build_head,
    check_same,
    draw_maps,
    draw_truth,
    run_loss,
)

COUNTS = [9, 0, 30, 1]


class ImageByImage:
    """An assigner that knows no batches."""

    def __init__(self, **arguments):
        self.assigner = NormalizedTaskAlignedAssigner(**arguments)

    def assign(self, predicted, truth):
        return self.assigner.assign(predicted, truth)


@pytest.mark.parametrize("limit", [batches.MOST_PAIRS, 1])
@pytest.mark.parametrize("calculator", ["CIoUOverlaps", "mmdet.BboxOverlaps2D"])
def test_assignment(monkeypatch, limit, calculator):
    """Also a few images at a time, where all of them would fill the memory."""
    monkeypatch.setattr(batches, "MOST_PAIRS", limit)
    head, truth = build_head("yolo_dfl_pafpn"), draw_truth(COUNTS)
    logits, _, boxes, priors = head.decode(*draw_maps([CLASSES, 64], len(COUNTS)))
    assigner = NormalizedTaskAlignedAssigner(iou_calculator=dict(type=calculator))
    padded = batches.pad_truth(truth, boxes)
    found = assigner.assign_batch(priors, boxes, logits.sigmoid(), padded)
    for image, gts in enumerate(truth):
        predicted = InstanceData(priors=priors, bboxes=boxes[image], scores=logits[image].sigmoid())
        result = assigner.assign(predicted, gts)
        positive, gt, scores, overlaps = (part[image] for part in found)
        assert torch.where(positive, gt + 1, 0).equal(result.gt_inds)
        assert scores.equal(result.assign_metrics) and overlaps.equal(result.max_overlaps)
        labels = padded.labels_BG[image, gt]
        assert torch.where(positive, labels, -1).equal(result.labels)
        assert bool(positive.any()) == bool(len(gts))


def test_an_assigner_of_another_kind_is_asked_image_by_image():
    maps, truth = draw_maps([CLASSES, 64], len(COUNTS)), draw_truth(COUNTS)
    ours = run_loss(build_head("yolo_dfl_pafpn"), maps, truth)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASK_UTILS.module_dict, "ImageByImage", ImageByImage)
        other = build_head("yolo_dfl_pafpn", train_cfg=dict(assigner=dict(type="ImageByImage")))
    assert not hasattr(other.assigner, "assign_batch")
    check_same(ours, run_loss(other, maps, truth))


def test_ground_truths_are_filled_up_to_sizes_that_come_again():
    truth = draw_truth([3, 0, 9])
    boxes, labels, given = batches.pad_truth(truth, torch.zeros(1, dtype=torch.double))
    assert boxes.shape == (3, 16, 4) and boxes.dtype == torch.double
    assert given.sum(1).tolist() == [3, 0, 9]
    for image, gts in enumerate(truth):
        assert boxes[image, : len(gts)].equal(gts.bboxes.double())
        assert labels[image, : len(gts)].equal(gts.labels)
        assert not boxes[image, len(gts) :].any() and not labels[image, len(gts) :].any()
    assert batches.pad_truth(draw_truth([0, 0]), boxes).boxes_BG4.shape == (2, 8, 4)


def test_priors_of_many_sizes_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(batches, "MOST_SIZES", 3)
    cache = build_head("yolo_dfl_pafpn")._priors
    for side in range(64, 64 + 7 * 32, 32):
        maps = draw_maps([1], 1, size=(side, side))[0]
        assert len(cache(maps, maps[0])) == sum(level[0, 0].numel() for level in maps)
        assert len(cache.made) <= 3
