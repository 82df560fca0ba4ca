"""nms, soft_nms, nms_match and bbox_overlaps against loops over pairs of boxes."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)


def random_boxes(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner_N2 = torch.rand(count, 2, generator=generator) * 20
    size_N2 = torch.rand(count, 2, generator=generator) * 15 + 1
    return torch.cat([corner_N2, corner_N2 + size_N2], dim=1), torch.rand(
        count, generator=generator
    )


def iou(a: list[float], b: list[float], offset: int = 0) -> float:
    def area(box):
        return (box[2] - box[0] + offset) * (box[3] - box[1] + offset)

    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    shared = max(width, 0) * max(height, 0)
    return shared / (area(a) + area(b) - shared)


def plain_nms(
    boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int
) -> list[int]:
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i].tolist(), boxes[k].tolist(), offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def plain_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    left = dict(enumerate(scores.tolist()))
    kept = []
    while left:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best].tolist(), boxes[i].tolist(), offset)
            if method == "gaussian":
                left[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[i] *= 1 - overlap if method == "linear" else 0
            if left[i] < min_score:
                del left[i]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms_keeps_what_the_definition_keeps(threshold, offset):
    boxes, scores = random_boxes(60)
    dets, kept = nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == plain_nms(boxes, scores, threshold, offset)
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


def test_nms_offset_changes_the_result():
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert len(nms(boxes, scores, 0.2, offset=0)[1]) == 2
    assert len(nms(boxes, scores, 0.2, offset=1)[1]) == 1


def test_nms_filters_and_limits():
    boxes, scores = random_boxes(60)
    _, kept = nms(boxes, scores, 0.5, score_threshold=0.4, max_num=5)
    high = [i for i in plain_nms(boxes, scores, 0.5, 0) if scores[i] > 0.4]
    assert kept.tolist() == high[:5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_in_other_precisions(dtype):
    boxes, scores = (t.to(dtype) for t in random_boxes(30))
    dets, kept = nms(boxes, scores, 0.5)
    assert dets.dtype == dtype
    assert kept.tolist() == nms(boxes.float(), scores.float(), 0.5)[1].tolist()


def test_nms_takes_numpy_and_no_boxes():
    boxes, scores = random_boxes(10)
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and isinstance(kept, np.ndarray)
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.shape == (0,)


def test_batched_nms_separates_classes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])
    _, kept = batched_nms(boxes, scores, classes, dict(type="nms", iou_threshold=0.5))
    assert kept.tolist() == [0, 1]


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_follows_the_paper(method, offset):
    boxes, scores = random_boxes(40)
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    expected = plain_soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert len(expected) < 40, "the case must drop boxes"
    assert kept.tolist() == [i for i, _ in expected]
    torch.testing.assert_close(dets[:, :4], boxes[kept])
    torch.testing.assert_close(dets[:, 4], torch.tensor([s for _, s in expected]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_soft_nms_in_half_precision(dtype):
    boxes, scores = (t.to(dtype) for t in random_boxes(20))
    dets, kept = soft_nms(boxes, scores, method="linear")
    wide, wide_kept = soft_nms(boxes.float(), scores.float(), method="linear")
    assert dets.dtype == dtype and kept.tolist() == wide_kept.tolist()
    torch.testing.assert_close(dets.float(), wide, rtol=1e-2, atol=1e-2)


def test_soft_nms_without_boxes_and_without_area():
    dets, kept = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5) and kept.shape == (0,)
    dets, kept = soft_nms(torch.ones(3, 4), torch.tensor([0.3, 0.9, 0.6]), method="linear")
    assert kept.tolist() == [1, 2, 0] and dets[:, 4].tolist() == pytest.approx([0.9, 0.6, 0.3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_nms_match_groups_boxes_by_the_one_that_is_kept(threshold, dtype):
    boxes, scores = random_boxes(60)
    dets = torch.cat([boxes, scores[:, None]], dim=1).to(dtype)
    wanted: dict[int, list[int]] = {}
    for i in dets[:, 4].argsort(descending=True, stable=True).tolist():
        for kept, group in wanted.items():
            if iou(dets[i].tolist(), dets[kept].tolist()) >= threshold:
                group.append(i)
                break
        else:
            wanted[i] = [i]
    assert len(wanted) < 60, "the case must group boxes"
    assert [group.tolist() for group in nms_match(dets, threshold)] == list(wanted.values())


def test_nms_match_counts_an_overlap_of_the_threshold():
    """mmcv's `nms` keeps such a box."""
    dets = torch.tensor([[0.0, 0, 10, 10, 0.9], [0, 0, 10, 5, 0.8], [20, 0, 20, 0, 0.7]])
    assert [group.tolist() for group in nms_match(dets, 0.5)] == [[0, 1], [2]]
    assert len(nms(dets[:, :4].contiguous(), dets[:, 4].contiguous(), 0.5)[1]) == 3


def test_nms_match_takes_numpy_and_no_boxes():
    groups = nms_match(np.array([[0, 0, 1, 1, 0.5]], dtype=np.float32), 0.5)
    assert len(groups) == 1 and isinstance(groups[0], np.ndarray)
    assert nms_match(torch.zeros(0, 5), 0.5) == []


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_bbox_overlaps(mode, offset):
    first, _ = random_boxes(5)
    second, _ = random_boxes(5, seed=1)
    pairs = torch.empty(5, 5)
    for i, a in enumerate(first.tolist()):
        for j, b in enumerate(second.tolist()):
            value = iou(a, b, offset)
            if mode == "iof":
                area_a, area_b = ((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b))
                value = value * (area_a + area_b) / (1 + value) / area_a
            pairs[i, j] = value
    torch.testing.assert_close(bbox_overlaps(first, second, mode, False, offset), pairs)
    torch.testing.assert_close(bbox_overlaps(first, second, mode, True, offset), pairs.diagonal())
