"""One-stage detectors as functions of tensors."""

from typing import ClassVar

from mmdet.models.detectors import SingleStageDetector
from torch import Tensor

from mmmamba.errors import UsageError

from .base import IMAGE_SIZES, IMAGES, Graph
from .dense_heads import reader_of
from .selection import detected, everything


class OneStageGraph(Graph):
    """From images to what the detector's `predict(rescale=False)` finds in them.

    Args:
        detector: whose `test_cfg` decides what is detected.
        nms: give `boxes` `(B, N, 4)`, `scores` `(B, N)` and `labels` `(B, N)` of what is detected,
            best first, N as in the `test_cfg`; where an image has no more, the label is -1.
            Without it `boxes` `(B, P, 4)` and `scores` `(B, P, C)` of all priors.

    Raises:
        UsageError: the detector, its head or a setting is not known.
    """

    task: ClassVar[str] = "detection"
    input_names = (IMAGES, IMAGE_SIZES)

    def __init__(self, detector: SingleStageDetector, nms: bool = True):
        super().__init__()
        kind = type(detector)
        if kind.predict is not SingleStageDetector.predict:
            raise UsageError(
                f"{kind.__name__} cannot be exported: it predicts in a way of its own, wanted that "
                "of mmdet's SingleStageDetector"
            )
        self._reader = reader_of(detector.bbox_head)
        self._limits = self._reader.limits() if nms else None
        self.detector = detector
        self.output_names = ("boxes", "scores", "labels") if nms else ("boxes", "scores")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        images, image_sizes = inputs
        outputs = self.detector.bbox_head(self.detector.extract_feat(images))
        seen = self._reader.see(outputs, image_sizes)
        return everything(seen) if self._limits is None else detected(seen, self._limits)
