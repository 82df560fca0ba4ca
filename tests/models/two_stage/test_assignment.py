"""Assignment and sampling without a read-back give what mmdet's give."""

from collections.abc import Iterator

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmmamba.models.two_stage.assignment import DeviceMaxIoUAssigner, DeviceRandomSampler

SETTINGS = {
    "rpn": dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    "rcnn": dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
    "cascade": dict(pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6, match_low_quality=False),
    "retinanet": dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
    "interval": dict(pos_iou_thr=0.5, neg_iou_thr=(0.1, 0.4), min_pos_iou=0.2),
    "one prior each": dict(
        pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.1, gt_max_assign_all=False
    ),
    "ignored": dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0, ignore_iof_thr=0.5),
}


@pytest.fixture(autouse=True)
def mmdets_registry() -> Iterator[None]:
    """mmdet's assigner looks its parts up in the scope that an earlier run in this process left."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


def boxes(count: int) -> torch.Tensor:
    """On a coarse grid, so that overlaps tie and boxes repeat."""
    corner = torch.randint(0, 12, (count, 2)).float()
    return torch.cat([corner, corner + torch.randint(1, 6, (count, 2))], dim=1) * 8


def draw(priors: int, gts: int) -> tuple[InstanceData, InstanceData, InstanceData]:
    torch.manual_seed(priors + gts)
    return (
        InstanceData(priors=boxes(priors)),
        InstanceData(bboxes=boxes(gts), labels=torch.randint(0, 80, (gts,))),
        InstanceData(bboxes=boxes(2)),
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("priors", "gts"), [(400, 9), (400, 1), (400, 0), (0, 3), (3, 30)])
def test_assignment(settings, priors, gts):
    data = draw(priors, gts)
    wanted, got = (
        kind(**settings).assign(*data) for kind in (MaxIoUAssigner, DeviceMaxIoUAssigner)
    )
    assert got.num_gts == wanted.num_gts == gts
    for name in ("gt_inds", "labels", "max_overlaps"):
        assert torch.equal(getattr(got, name), getattr(wanted, name)), name
        assert getattr(got, name).dtype == getattr(wanted, name).dtype


@pytest.mark.parametrize("add_gt", [True, False])
@pytest.mark.parametrize(("priors", "gts"), [(400, 9), (400, 0), (20, 3)])
def test_the_same_seed_draws_the_same_samples_on_a_cpu(priors, gts, add_gt):
    results = []
    for kind in (RandomSampler, DeviceRandomSampler):
        data = draw(priors, gts)
        assigned = MaxIoUAssigner(**SETTINGS["rcnn"]).assign(*data)
        results.append(
            kind(num=64, pos_fraction=0.25, add_gt_as_proposals=add_gt).sample(assigned, *data[:2])
        )
    for name in ("pos_inds", "neg_inds", "pos_assigned_gt_inds", "pos_gt_labels"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name)), name
