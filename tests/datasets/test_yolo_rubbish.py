"""YOLO's transforms and assigner with no boxes, boxes outside, empty ones, and tiny images."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from mmmamba.datasets.transforms import CenteredRandomAffine, HSVGain, Letterbox
from mmmamba.models.yolo.assigner import NormalizedTaskAlignedAssigner

COORDINATE = st.one_of(st.floats(-3000, 3000, width=32), st.sampled_from([0.0, 1e9, -1e9]))
BOXES = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), max_size=5)
SIDE = st.one_of(st.integers(1, 40), st.sampled_from([1, 2, 3, 200]))


def sample(height: int, width: int, boxes: list) -> dict:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    return dict(
        img=image,
        img_shape=(height, width),
        ori_shape=(height, width),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), dtype=bool),
    )


def test_letterbox_of_an_image_of_a_line() -> None:
    for height, width in [(1, 1), (1, 20_000), (20_000, 1)]:
        got = Letterbox(64).transform(sample(height, width, []))
        assert got["img"].shape == (64, 64, 3)


@settings(max_examples=150, deadline=None)
@given(height=SIDE, width=SIDE, boxes=BOXES, rect=st.booleans())
def test_letterbox(height: int, width: int, boxes: list, rect: bool) -> None:
    """The image keeps its size; boxes move with it, wherever they are, and none is lost."""
    got = Letterbox(64, rect=rect).transform(sample(height, width, boxes))
    assert got["img"].shape[:2] == got["img_shape"] and min(got["img_shape"]) >= 32
    assert got["gt_bboxes"].tensor.isfinite().all() and len(got["gt_bboxes"]) == len(boxes)
    top, _, left, _ = got["pad_param"]
    wanted = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * torch.tensor(
        got["scale_factor"] * 2
    )
    assert torch.allclose(
        got["gt_bboxes"].tensor, wanted + torch.tensor([left, top, left, top]), rtol=1e-4, atol=1e-3
    )


@settings(max_examples=150, deadline=None)
@given(height=SIDE, width=SIDE, boxes=BOXES)
def test_affine_keeps_only_boxes_in_the_image(height: int, width: int, boxes: list) -> None:
    got = HSVGain().transform(
        CenteredRandomAffine(size=(48, 32)).transform(sample(height, width, boxes))
    )
    kept = got["gt_bboxes"].tensor
    assert got["img"].shape == (32, 48, 3)
    assert len(kept) == len(got["gt_bboxes_labels"]) == len(got["gt_ignore_flags"]) <= len(boxes)
    assert kept.isfinite().all() and (kept[:, 2:] - kept[:, :2] > 2).all()
    assert (kept >= 0).all() and (kept[:, ::2] <= 48).all() and (kept[:, 1::2] <= 32).all()


@settings(max_examples=150, deadline=None)
@given(boxes=BOXES, seed=st.integers(0, 99))
def test_assigner(boxes: list, seed: int) -> None:
    """Targets are finite, and background where no box is."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)) * 8 + 4
    predictions = InstanceData(
        priors=torch.cat([centres, torch.full((16, 2), 8.0)], 1),
        bboxes=torch.cat([centres - 4, centres + 4], 1) + torch.rand(16, 4, generator=random),
        scores=torch.rand(16, 3, generator=random),
    )
    truth = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)) % 3,
    )
    result = NormalizedTaskAlignedAssigner(topk=3).assign(predictions, truth)
    assert (
        result.gt_inds.shape == (16,)
        and (result.gt_inds <= len(boxes)).all()
        and (result.gt_inds >= 0).all()
    )
    assert result.max_overlaps.isfinite().all() and result.assign_metrics.isfinite().all()
    if not boxes:
        assert not result.gt_inds.any() and not result.assign_metrics.any()
