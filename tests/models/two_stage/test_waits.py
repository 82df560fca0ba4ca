"""Training a two-stage detector never waits for the GPU, and asks no more for more to find.

Operators are counted on a CPU (`operators.py`); what becomes of them on a GPU is tested there.
"""

import pytest

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from torch import nn

from mmmamba.structures.packed_masks import PackedMasks
from tests.models.two_stage.operators import Counted, counting
from tests.models.two_stage.test_training_step import batch, build, config

PER_IMAGE = 6
"""Operators for an image more: its boxes, labels and masks are put together with the others'."""


def counts(monkeypatch, model: nn.Module, objects: list[int]) -> list[Counted]:
    """Operators of the proposal network's losses, its proposals, and the region head's losses."""
    data = model.data_preprocessor(batch(objects, PackedMasks), True)
    samples = data["data_samples"]
    maps = model.extract_feat(data["inputs"].float())
    outs = model.rpn_head(maps)
    gts = [one.gt_instances for one in samples]
    metas = [one.metainfo for one in samples]
    cfg = model.train_cfg.rpn_proposal
    found = model.rpn_head.predict_by_feat(*outs, batch_img_metas=metas, cfg=cfg)
    counted = []
    for run in (
        lambda: model.rpn_head.loss_by_feat(*outs, gts, metas),
        lambda: model.rpn_head.predict_by_feat(*outs, batch_img_metas=metas, cfg=cfg),
        lambda: model.roi_head.loss(maps, found, samples),
    ):
        # The first pass copies what later ones find.
        run()
        with counting(monkeypatch) as one:
            run()
        counted.append(one)
    return counted


@pytest.mark.parametrize(
    ("name", "most"),
    [("mask_rcnn_fpn", (90, 65, 165)), ("cascade_mask_rcnn_fpn", (100, 65, 545))],
)
def test_nothing_is_read_in_training(monkeypatch, name, most):
    model = build(config(name).model)
    one, few, many = (
        counts(monkeypatch, model, objects) for objects in ([4], [1, 0, 2], [9, 30, 5])
    )
    for stage, limit in enumerate(most):
        for counted in (one[stage], few[stage], many[stage]):
            assert counted.reads == counted.counts["readback"] == 0, counted.counts
        assert one[stage].total <= limit
        assert few[stage].total == many[stage].total
    stages = model.roi_head.num_stages if "cascade" in name else 1
    more = sum(three.total - single.total for three, single in zip(many, one))
    assert more <= 2 * PER_IMAGE * (1 + stages)


def test_batch_normalisation_takes_a_look_a_stage(monkeypatch):
    """What fills a batch up would count in its means."""
    model = build(config("cascade_mask_rcnn_fpn", norm_cfg=dict(type="BN")).model)
    *_, regions = counts(monkeypatch, model, [9, 30, 5])
    assert regions.reads == regions.counts["aten::nonzero"] == 3
