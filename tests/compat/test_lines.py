"""Suppression of lanes against a loop over pairs of lanes."""

import pytest
import torch
from mmcv.ops import line_nms
from mmdet.models.dense_heads import CLRHead
from mmengine.hub import get_config

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

ROWS = 72


def make_lanes(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lanes = torch.randn(count, 5 + ROWS, dtype=torch.float64, generator=generator) * 3
    lanes[:, 2] = torch.rand(count, generator=generator) * 1.1
    lanes[:, 4] = torch.rand(count, generator=generator) * 80
    return lanes, torch.rand(count, generator=generator)


def near(a: list[float], b: list[float], threshold: float) -> bool:
    covered = []
    for lane in (a, b):
        first = int(lane[2] * (ROWS - 1) + 0.5)
        covered.append(range(first, min(first + int(lane[4]), ROWS)))
    rows = set(covered[0]) & set(covered[1])
    return bool(rows) and sum(abs(a[5 + r] - b[5 + r]) for r in rows) < threshold * len(rows)


@pytest.mark.parametrize("top_k", [5, 40])
@pytest.mark.parametrize("threshold", [3.0, 3.4])
def test_near_lanes_are_suppressed(threshold, top_k, device):
    lanes, scores = make_lanes()
    keep, count, parent = line_nms(lanes.to(device), scores.to(device), threshold, top_k)
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if not any(near(lanes[i].tolist(), lanes[k].tolist(), threshold) for k in kept):
            kept.append(i)
    assert len(kept) < 40, "the case must drop lanes"
    assert keep[:count].tolist() == kept[:top_k]
    assert parent[keep[:count]].tolist() == list(range(1, int(count) + 1))


def test_lanes_point_to_the_one_that_stands_for_them():
    lanes = torch.zeros(4, 5 + ROWS)
    lanes[:, 4] = 10
    lanes[:, 5:] = torch.tensor([0.0, 30, 1, 31])[:, None]
    keep, count, parent = line_nms(lanes, torch.tensor([0.5, 0.9, 0.6, 0.8]), 2.0, 10)
    assert keep[:count].tolist() == [1, 2]
    assert parent.tolist() == [2, 1, 2, 1]
    assert line_nms(lanes, torch.tensor([0.5, 0.9, 0.6, 0.8]), 2.0, 1)[2].tolist() == [0, 1, 0, 1]


def test_lanes_without_rows_and_no_lanes():
    lanes = torch.zeros(2, 5 + ROWS)
    assert line_nms(lanes, torch.tensor([0.5, 0.9]), 2.0, 5)[0].tolist() == [1, 0]
    keep, count, parent = line_nms(lanes[:0], torch.zeros(0), 2.0, 5)
    assert keep.shape == parent.shape == (0,) and count == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_clrnet_keeps_its_best_lanes():
    """On a GPU only, as mmdet's head suppresses nothing on the CPU."""
    config = get_config("mmdet::clrnet/clrnet.py").model.head
    head = CLRHead(**{key: value for key, value in config.items() if key != "type"}).cuda()
    lanes = torch.rand(1, 192, 6 + ROWS, device="cuda")
    assert len(head.get_lanes(lanes, [1640], as_lanes=False, top_k=5)[0]) == 5
