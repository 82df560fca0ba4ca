"""Graphs of one-stage detectors find what the detectors themselves predict."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import graph_of
from mmmamba.exporting.graphs.dense_heads import UNLIMITED
from tests.configs.conftest import CONFIGS

from .cases import (
    CLASSES,
    NMS,
    SIZES,
    batch,
    detector,
    onnx_file,
    predict,
    run_onnx,
    spread,
    traced,
)

HEADS = ["retinanet_fpn", "rtmdet_pafpn", "yolox_pafpn", "yolo_dfl_pafpn"]


def find(model: nn.Module, images: Tensor, sizes: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return graph_of(model)(images, sizes)


def check(found: list[Tensor], wanted: list, off: float = 0) -> list[int]:
    """How many objects of each image are the same, in the same order.

    Args:
        off: how many pixels a side may be off, and a hundred times how much a score.
    """
    boxes_BN4, scores_BN, labels_BN = map(torch.as_tensor, found)
    counts = []
    for boxes_N4, scores_N, labels_N, one in zip(boxes_BN4, scores_BN, labels_BN, wanted):
        # mmdet's YOLOX keeps more than `max_per_img`.
        one = one[: len(labels_N)]
        count = len(one)
        torch.testing.assert_close(boxes_N4[:count], one.bboxes, rtol=off / 10, atol=off)
        # A sigmoid's last digit depends on the place in memory.
        torch.testing.assert_close(scores_N[:count], one.scores, rtol=1e-6, atol=off / 100)
        assert torch.equal(labels_N[:count], one.labels)
        assert (labels_N[count:] == -1).all()
        assert not scores_N[count:].any() and not boxes_N4[count:].any()
        counts.append(count)
    return counts


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        *((base, None) for base in HEADS),
        ("rtmdet_pafpn", "RTMDetSepBNHead"),
        ("yolox_pafpn", "YOLOXHead"),
    ],
)
def test_a_graph_finds_what_is_predicted(base, kind):
    model = detector(base, kind)
    for size in SIZES:
        for images in (1, 2):
            inputs = batch(images, size)
            assert min(check(find(model, *inputs), predict(model, *inputs))) > 5


@pytest.mark.gpu
@pytest.mark.parametrize("base", HEADS)
def test_on_a_gpu(base):
    model = detector(base).cuda()
    inputs = [one.cuda() for one in batch(2, SIZES[0])]
    assert min(check(find(model, *inputs), predict(model, *inputs), off=1e-4)) > 5


@pytest.mark.parametrize("base", HEADS)
def test_images_without_objects_beside_others(base):
    model = detector(base, score_thr=0.51)
    images, sizes = batch(3, SIZES[0])
    images[1] = 0
    first, second, third = check(find(model, images, sizes), predict(model, images, sizes))
    assert first and not second and third


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("retinanet_fpn", dict(min_bbox_size=20)),
        ("retinanet_fpn", dict(nms_pre=100_000, max_per_img=2000)),
        ("rtmdet_pafpn", dict(min_bbox_size=-1, score_thr=0)),
        ("rtmdet_pafpn", dict(min_bbox_size=1)),
        ("yolox_pafpn", dict(max_per_img=-1)),
        ("yolo_dfl_pafpn", dict(multi_label=False)),
        ("yolo_dfl_pafpn", dict(nms_pre=-1, max_per_img=-1)),
    ],
    ids=str,
)
def test_settings(base, settings):
    model = detector(base, **settings)
    inputs = batch(2, SIZES[1])
    found = find(model, *inputs)
    assert min(check(found, predict(model, *inputs))) > 2
    places = model.bbox_head.test_cfg.max_per_img
    assert found[1].shape[1] == (places if places > 0 else UNLIMITED)


def test_several_classes_of_a_box():
    boxes_BN4, _, labels_BN = find(detector("yolo_dfl_pafpn", score_thr=0.05), *batch(1, SIZES[0]))
    boxes_N4 = boxes_BN4[labels_BN >= 0]
    assert len(boxes_N4.unique(dim=0)) < len(boxes_N4)


@pytest.mark.parametrize("kind", ["ATSSHead", "FCOSHead"])
def test_other_heads_of_mmdet_with_a_factor(kind):
    init_default_scope("mmdet")
    deltas = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
    own = {
        "ATSSHead": dict(
            anchor_generator=dict(
                type="AnchorGenerator",
                ratios=[1.0],
                octave_base_scale=8,
                scales_per_octave=1,
                strides=[8, 16, 32],
            ),
            bbox_coder=deltas,
        ),
        "FCOSHead": dict(
            strides=[8, 16, 32], regress_ranges=((-1, 64), (64, 128), (128, 9999)), norm_cfg=None
        ),
    }[kind]
    model = detector("retinanet_fpn")
    head = dict(type=kind, num_classes=CLASSES, in_channels=8, feat_channels=32, stacked_convs=1)
    torch.manual_seed(0)
    model.bbox_head = spread(
        MODELS.build(head | own | dict(test_cfg=model.bbox_head.test_cfg)).eval()
    )
    inputs = batch(2, SIZES[0])
    assert min(check(find(model, *inputs), predict(model, *inputs))) > 5


@pytest.mark.parametrize("base", HEADS)
def test_without_suppression_all_priors_are_there(base):
    model = detector(base)
    inputs = batch(2, SIZES[0])
    graph = graph_of(model, nms=False)
    with torch.no_grad():
        boxes_BP4, scores_BPC = graph(*inputs)
    assert graph.output_names == ("boxes", "scores")
    priors = (8 * 12 + 4 * 6 + 2 * 3) * (9 if base == "retinanet_fpn" else 1)
    assert boxes_BP4.shape == (2, priors, 4) and scores_BPC.shape == (2, priors, CLASSES)
    for image, one in enumerate(predict(model, *inputs)):
        for box, score, label in zip(one.bboxes, one.scores, one.labels):
            same_P = (boxes_BP4[image] == box).all(-1)
            torch.testing.assert_close(scores_BPC[image, same_P, label].max(), score)


@pytest.mark.parametrize("nms", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("base", "fixed"),
    [
        ("retinanet_fpn", SIZES[2]),
        ("yolox_pafpn", SIZES[2]),
        ("yolo_dfl_pafpn", SIZES[2]),
        ("rtmdet_pafpn", SIZES[2]),
        *(
            pytest.param(base, size, marks=pytest.mark.slow)
            for base, size in zip(HEADS, [None] * len(HEADS))
        ),
    ],
)
def test_traced_and_as_a_file(base, fixed, nms):
    """At other sizes than the traced one, among them one whose last map is a single cell."""
    pytest.importorskip("onnxruntime")
    model = detector(base)
    graph = graph_of(model, nms)
    program = traced(graph, fixed)
    file = onnx_file(graph, program)
    module = program.module()
    for size in [fixed] if fixed else [*SIZES, (30, 50)]:
        for images in [2] if fixed else [1, 3]:
            inputs = batch(images, size)
            with torch.no_grad():
                wanted = graph(*inputs)
                if min(size) > 32:
                    for one, other in zip(module(*inputs), wanted, strict=True):
                        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)
            found = run_onnx(file, *inputs)
            if nms:
                assert min(check(found, predict(model, *inputs), off=1e-4)) > 0
            for one, other in zip(found, wanted, strict=True):
                torch.testing.assert_close(torch.tensor(one), other, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_mamba_yolo_as_a_file_of_any_size():
    pytest.importorskip("onnxruntime")
    cfg = Config.fromfile(CONFIGS / "mamba_yolo" / "mamba_yolo_t_300e_coco.py")
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    for branch in model.bbox_head.cls_preds:
        nn.init.constant_(branch[-1].bias, -3)
        nn.init.normal_(branch[-1].weight, std=0.2)
    # Few, of which no two have nearly the same score.
    model.bbox_head.test_cfg.update(max_per_img=12)
    graph = graph_of(model)
    file = onnx_file(graph, traced(graph))
    for size in ((96, 160), (75, 101)):
        inputs = batch(2, size)
        wanted = predict(model, *inputs)
        assert min(check(find(model, *inputs), wanted)) > 5
        assert min(check(run_onnx(file, *inputs), wanted, off=1e-2)) > 5


class _OwnHead(RetinaHead):
    def _bbox_post_process(self, *args, **kwargs):
        return super()._bbox_post_process(*args, **kwargs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(nms=dict(type="soft_nms", iou_threshold=0.5)), r"nms of its test_cfg is .*soft_nms"),
        (dict(nms=NMS | dict(class_agnostic=True)), "class_agnostic.*--no-nms"),
        (dict(nms_pre=-1), "nms_pre of its test_cfg is -1.*model.test_cfg.nms_pre=1000"),
        (dict(max_per_img=0), "max_per_img of its test_cfg is 0"),
    ],
    ids=str,
)
def test_settings_that_are_not_known_are_refused(settings, message):
    model = detector("retinanet_fpn")
    model.bbox_head.test_cfg.update(settings)
    with pytest.raises(UsageError, match=rf"RetinaHead cannot be exported: .*{message}"):
        graph_of(model)
    # They say nothing of a graph without suppression.
    graph_of(model, nms=False)


def test_heads_that_are_not_known_are_refused():
    model = detector("retinanet_fpn")
    model.bbox_head.__class__ = _OwnHead
    with pytest.raises(UsageError, match=r"_OwnHead cannot be exported: .*Known are RetinaHead"):
        graph_of(model)
    model = detector("retinanet_fpn")
    model.bbox_head.bbox_coder.use_box_type = True
    with pytest.raises(UsageError, match="RetinaHead cannot be exported: its boxes are objects"):
        graph_of(model)
