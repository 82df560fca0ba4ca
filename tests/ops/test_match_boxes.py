"""The kernels assign as `DeviceMaxIoUAssigner` does, which is tested against mmdet's."""

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmmamba.ops.match_boxes import Thresholds, match_boxes

from .interpreter import inside

SETTINGS = {
    "rpn": dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    "rcnn": dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
    "cascade": dict(pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6, match_low_quality=False),
    "any": dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    "interval": dict(pos_iou_thr=0.5, neg_iou_thr=(0.1, 0.4), min_pos_iou=0.2),
}


def boxes(images: int, count: int) -> torch.Tensor:
    """On a coarse grid, so that overlaps tie and boxes repeat."""
    corner = torch.randint(0, 12, (images, count, 2)).float()
    return torch.cat([corner, corner + torch.randint(1, 6, (images, count, 2))], dim=2) * 8.1


@inside
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("priors", "counts"), [(700, [9, 0, 3]), (512, [1]), (3, [30, 2])])
@pytest.mark.parametrize("shared", [True, False])
def test_assignment(settings, priors, counts, shared):
    from mmmamba.models.two_stage.assignment import (
        DeviceMaxIoUAssigner,
        GroundTruth,
        count_mask,
    )

    torch.manual_seed(priors)
    images, most = len(counts), max(counts)
    gts_BG4 = boxes(images, most)
    there_BG = count_mask(counts, most, gts_BG4.device)
    gts_BG4 = gts_BG4 * there_BG[..., None]
    priors_BP4 = boxes(1, priors).expand(images, -1, -1) if shared else boxes(images, priors)
    valid_BP = torch.rand(images, priors) < 0.8
    assigner = DeviceMaxIoUAssigner(**settings)
    truth = GroundTruth(gts_BG4, torch.zeros(images, most, dtype=torch.long), there_BG, counts)
    wanted = assigner.assign_batch(truth, priors_BP4, valid_BP)
    thresholds = assigner.thresholds
    assert isinstance(thresholds, Thresholds)
    got = match_boxes(gts_BG4, there_BG, priors_BP4, valid_BP, thresholds)
    assert got.dtype == wanted.dtype and got.equal(wanted)
    assert priors < 100 or ((wanted > 0).any() and (wanted == 0).any() and (wanted < 0).any())


@inside
def test_no_priors():
    nothing = torch.zeros(2, 0, dtype=torch.bool)
    thresholds = Thresholds(0.0, 0.3, 0.7, 0.3)
    there = torch.ones(2, 1, dtype=torch.bool)
    found = match_boxes(boxes(2, 1), there, torch.zeros(2, 0, 4), nothing, thresholds)
    assert found.shape == (2, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_on_a_gpu(settings):
    from mmmamba.models.two_stage.assignment import DeviceMaxIoUAssigner, GroundTruth, count_mask

    torch.manual_seed(0)
    counts, priors = [9, 0, 40], 100_003
    there_BG = count_mask(counts, max(counts), torch.device("cpu"))
    labels_BG = torch.zeros(there_BG.shape, dtype=torch.long)
    data = [boxes(3, max(counts)) * there_BG[..., None], labels_BG, there_BG]
    priors_BP4, valid_BP = boxes(3, priors), torch.rand(3, priors) < 0.8
    assigner = DeviceMaxIoUAssigner(**settings)
    wanted = assigner.assign_batch(GroundTruth(*data, counts), priors_BP4, valid_BP)
    truth = GroundTruth(*[one.cuda() for one in data], counts)
    got = assigner.assign_batch(truth, priors_BP4.cuda(), valid_BP.cuda())
    assert got.cpu().equal(wanted)
