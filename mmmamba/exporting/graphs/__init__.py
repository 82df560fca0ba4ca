"""Models as functions of tensors, from a batch of images to what is found in them."""

from torch import nn

from mmmamba.errors import UsageError
from mmmamba.models.classifiers import is_classifier

from .base import Graph

__all__ = ["Graph", "graph_of"]

KNOWN = (
    "mmdet's one-stage detectors (RetinaNet, RTMDet, YOLOX, MambaYOLO, …), its two-stage detectors "
    "(FasterRCNN, MaskRCNN, CascadeRCNN and ours), mmseg's EncoderDecoder, SUM, "
    "mmpretrain's ImageClassifier, and backbones"
)


def graph_of(model: nn.Module, nms: bool = True, logits: bool = False) -> Graph:
    """The graph of a model, by its class.

    Args:
        nms: of detectors, suppress boxes in the graph; without it one-stage detectors give the
            boxes and scores of all priors.
        logits: of segmentors give logits instead of labels, of classifiers instead of scores.

    Raises:
        UsageError: a model, or a setting of it, that cannot be exported.
    """
    # Late: to import detectors and segmentors takes seconds.
    from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
    from mmseg.models.segmentors import EncoderDecoder

    from ...models.segmentors.saliency.segmentor import SUM

    segments, salient = isinstance(model, EncoderDecoder), isinstance(model, SUM)
    detects = isinstance(model, SingleStageDetector | TwoStageDetector)
    classifies = is_classifier(model)
    if logits and not (segments or salient or classifies):
        raise UsageError(f"{type(model).__name__} gives no logits: leave out `--logits`")
    if not nms and not detects:
        raise UsageError(f"{type(model).__name__} suppresses no boxes: leave out `--no-nms`")
    if segments:
        from .segmentor import SegmentorGraph

        return SegmentorGraph(model, logits)
    if salient:
        from .saliency import SaliencyGraph

        return SaliencyGraph(model, logits)
    if classifies:
        from .classifier import ClassifierGraph

        return ClassifierGraph(model, logits)
    if isinstance(model, SingleStageDetector):
        from .one_stage import OneStageGraph

        return OneStageGraph(model, nms)
    if detects:
        return _two_stage(model, nms)
    if hasattr(model, "out_indices"):
        from .backbone import BackboneGraph

        return BackboneGraph(model)
    raise UsageError(f"{type(model).__name__} cannot be exported. Known are {KNOWN}.")


def _two_stage(model: nn.Module, nms: bool) -> Graph:
    if not nms:
        raise UsageError(
            f"{type(model).__name__} cannot be exported without suppression: its second stage "
            "looks only at what the first one's leaves. Leave out `--no-nms`."
        )
    from .two_stage import TwoStageGraph

    return TwoStageGraph(model)
