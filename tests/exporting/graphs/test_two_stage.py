"""A two-stage detector's graph finds what the detector predicts, traced and not."""

import pytest
import torch

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs.two_stage import TwoStageGraph
from mmmamba.exporting.tracing import trace
from tests.exporting.graphs.two_stage_models import (
    SIZES,
    VMAMBA,
    check,
    detector,
    images,
    leave_one_empty,
    settings,
)

NAMES = ("mask_rcnn_fpn", "cascade_mask_rcnn_fpn")


def run(graph, *inputs):
    with torch.no_grad():
        return graph(*inputs)


@pytest.mark.parametrize("own", [False, True], ids=["ours", "mmdet's"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_found(name, own):
    model = detector(settings(name), own)
    kinds = [type(one) for one in model.modules()]
    graph = TwoStageGraph(model)
    for inputs in ((images(), SIZES), (images(1), SIZES[:1])):
        found = run(graph, *inputs)
        assert [one.shape[1] for one in found] == [30] * 4
        assert max(check(model, inputs, found)) > 5
    # The detector is as it was, and has the same parameters.
    assert [type(one) for one in model.modules()] == kinds
    assert {id(one) for one in graph.parameters()} == {id(one) for one in model.parameters()}


def test_without_masks():
    cfg = settings()
    cfg.roi_head.mask_head = cfg.roi_head.mask_roi_extractor = None
    cfg.type = "FasterRCNN"
    model = detector(cfg)
    graph = TwoStageGraph(model)
    assert graph.output_names == ("boxes", "scores", "labels")
    assert max(check(model, (images(), SIZES), run(graph, images(), SIZES))) > 5


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_objects(name):
    """And more places than there can be detections."""
    cfg = settings(name, max_per_img=300)
    cfg.test_cfg.rpn.max_per_img = 10
    model = detector(cfg)
    graph = TwoStageGraph(model)
    leave_one_empty(model, run(graph, images(), SIZES))
    found = run(graph, images(), SIZES)
    assert [one.shape[1] for one in found] == [300] * 4
    assert sorted(count > 0 for count in check(model, (images(), SIZES), found)) == [False, True]


def test_traced_at_one_size():
    """One image, with all anchors of small levels."""
    cfg = settings(NAMES[1])
    cfg.test_cfg.rpn.nms_pre = -1
    model = detector(cfg)
    inputs = images(1), SIZES[:1]
    program = trace(TwoStageGraph(model), inputs)
    assert max(check(model, inputs, run(program.module(), *inputs))) > 5
    # Nothing that stood for numbers while the graph was traced is met later.
    assert max(check(model, inputs, run(TwoStageGraph(model), *inputs))) > 5


@pytest.mark.slow
def test_a_vmamba_traced_for_any_size():
    model = detector(settings(backbone=VMAMBA), own=True)
    graph = TwoStageGraph(model)
    program = trace(graph, (images(2, 97, 131), SIZES), dynamic=True, lowered=False)
    assert max(check(model, (images(), SIZES), run(program.module(), images(), SIZES))) > 5
    inputs = images(3, 150, 100), torch.tensor([[150, 100], [77, 80], [140, 60]])
    assert max(check(model, inputs, run(program.module(), *inputs))) > 5


def change(cfg, **changes):
    cfg.update(changes)


REFUSED = {
    "nms=.*soft_nms": lambda cfg: change(cfg.test_cfg.rcnn, nms=dict(type="soft_nms")),
    "class_agnostic": lambda cfg: change(cfg.test_cfg.rcnn.nms, class_agnostic=True),
    "test_cfg.rpn has": lambda cfg: change(cfg.test_cfg.rpn, max_per_img=-1),
    "DoubleHeadRoIHead": lambda cfg: change(
        cfg.roi_head, type="DoubleHeadRoIHead", reg_roi_scale_factor=1.3
    ),
    "add_ctr_clamp": lambda cfg: change(cfg.rpn_head.bbox_coder, add_ctr_clamp=True),
    "pool_mode": lambda cfg: change(cfg.roi_head.bbox_roi_extractor.roi_layer, pool_mode="max"),
    "mmcv's operator ModulatedDeformConv2dPack": lambda cfg: change(
        cfg.neck, conv_cfg=dict(type="DCNv2")
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_exported_says_why(reason):
    cfg = settings()
    REFUSED[reason](cfg)
    with pytest.raises(UsageError, match=reason):
        TwoStageGraph(detector(cfg))
