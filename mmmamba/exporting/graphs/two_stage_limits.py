"""Which two-stage detectors can be exported, and why others cannot."""

from collections.abc import Iterator
from typing import Any

from mmcv.ops import RoIAlign
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import nn

from ...errors import UsageError
from ...models.two_stage import (
    BatchedCascadeRoIHead,
    BatchedRoIHead,
    BatchedRPNHead,
    SortedRoIExtractor,
)
from ...models.two_stage.box_coding import knows_coder
from ...models.two_stage.known import (
    knows_anchors,
    knows_box_head,
    knows_mask_results,
    knows_nms,
    unchanged,
)

PREDICTS = ("predict", "predict_bbox", "predict_mask", "_bbox_forward", "_mask_forward")
PROPOSES = ("predict", "predict_by_feat", "_predict_by_feat_single", "_bbox_post_process")


def check_two_stage(model: TwoStageDetector) -> None:
    """Raises `UsageError` with the reason if a detector cannot be exported."""
    for reason in _reasons(model):
        raise UsageError(f"{type(model).__name__} cannot be exported: {reason}")


def _reasons(model: TwoStageDetector) -> Iterator[str]:
    if not unchanged(model, TwoStageDetector, "predict", "extract_feat"):
        yield "its class predicts in a way of its own; wanted is that of mmdet's TwoStageDetector"
    if not model.with_rpn:
        yield "it has no proposal network; add an rpn_head, as FasterRCNN has one"
    yield from _reasons_of_proposals(model.rpn_head)
    yield from _reasons_of_regions(model.roi_head)
    for name, part in model.named_modules():
        if type(part).__module__.startswith("mmcv.ops") and type(part) is not RoIAlign:
            yield (
                f"{name} is mmcv's operator {type(part).__name__}, which has no form outside of "
                "PyTorch; train with an ordinary layer in its place"
            )


def _reasons_of_proposals(head: nn.Module) -> Iterator[str]:
    own = unchanged(head, RPNHead, *PROPOSES) or unchanged(head, BatchedRPNHead, *PROPOSES)
    if not own:
        yield f"its rpn_head is a {type(head).__name__}; wanted is RPNHead or BatchedRPNHead"
    yield from _reasons_of_suppression("rpn", head.test_cfg)
    if not head.use_sigmoid_cls:
        yield "its rpn_head scores by a softmax; wanted is loss_cls with use_sigmoid=True"
    if not knows_anchors(head.prior_generator):
        yield (
            f"its rpn_head has priors of {type(head.prior_generator).__name__}; wanted is "
            "AnchorGenerator"
        )
    yield from _reasons_of_coder("rpn_head", head.bbox_coder)


def _reasons_of_regions(head: nn.Module) -> Iterator[str]:
    standard = any(unchanged(head, kind, *PREDICTS) for kind in (StandardRoIHead, BatchedRoIHead))
    cascade = any(
        unchanged(head, kind, *PREDICTS, "_refine_roi")
        for kind in (CascadeRoIHead, BatchedCascadeRoIHead)
    )
    if not standard and not cascade:
        yield (
            f"its roi_head is a {type(head).__name__}; wanted is StandardRoIHead, CascadeRoIHead, "
            "BatchedRoIHead or BatchedCascadeRoIHead"
        )
    yield from _reasons_of_suppression("rcnn", head.test_cfg)
    for box_head in _each(head.bbox_head):
        yield from _reasons_of_coder("bbox_head", box_head.bbox_coder)
        if not knows_box_head(box_head):
            yield (
                f"its {type(box_head).__name__} reads its outputs in a way of its own; wanted is "
                "mmdet's BBoxHead with classes and boxes, scored by a softmax"
            )
    extractors = [head.bbox_roi_extractor]
    if head.with_mask:
        extractors.append(head.mask_roi_extractor)
        for mask_head in _each(head.mask_head):
            if not knows_mask_results(mask_head):
                yield (
                    f"its mask_head is a {type(mask_head).__name__}; wanted is FCNMaskHead or "
                    "PackedFCNMaskHead"
                )
    for group in extractors:
        for extractor in _each(group):
            yield from _reasons_of_pooling(extractor)


def _reasons_of_suppression(stage: str, cfg: Any) -> Iterator[str]:
    if not knows_nms(cfg):
        yield (
            f"test_cfg.{stage} has nms={dict(cfg.nms)} and max_per_img={cfg.get('max_per_img')}; "
            "wanted is nms=dict(type='nms', iou_threshold=...), no other keys, and max_per_img "
            "above 0"
        )


def _reasons_of_coder(part: str, coder: object) -> Iterator[str]:
    if not knows_coder(coder):
        yield (
            f"its {part} codes boxes by {type(coder).__name__}; wanted is DeltaXYWHBBoxCoder with "
            "clip_border=True and add_ctr_clamp=False"
        )


def _reasons_of_pooling(extractor: nn.Module) -> Iterator[str]:
    if not isinstance(extractor, (SingleRoIExtractor, SortedRoIExtractor)) or not any(
        unchanged(extractor, kind, "forward", "map_roi_levels", "roi_rescale")
        for kind in (SingleRoIExtractor, SortedRoIExtractor)
    ):
        yield (
            f"its regions are pooled by {type(extractor).__name__}; wanted is SingleRoIExtractor "
            "or SortedRoIExtractor"
        )
    for layer in extractor.roi_layers:
        plain = type(layer) is RoIAlign and layer.pool_mode == "avg" and layer.aligned
        if not plain:
            yield (
                f"its regions are pooled by {layer}; wanted is RoIAlign with pool_mode='avg' and "
                "aligned=True"
            )


def _each(parts: nn.Module) -> list[nn.Module]:
    """The parts of a list, or the only one."""
    return list(parts) if isinstance(parts, nn.ModuleList) else [parts]
