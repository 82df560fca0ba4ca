"""What makes other one-stage detectors fast: whole batches on the device, few kernels.

Each class is mmdet's with the same parameters, losses and boxes, and takes its place by name in a
config:

- `BatchedRTMDetHead` (`rtmdet_head`) is `RTMDetSepBNHead`;
- `BatchedYOLOXHead` (`yolox_head`) is `YOLOXHead`.

In training both find the cost of each prior for each ground truth and let `matching` share the
priors out; `overlaps` says how far boxes are off. In prediction they ask
`models/yolo/box_selection.py` which boxes to keep, as our own head does. Of a batch's levels,
priors and ground truths `models/yolo/batches.py` makes tensors.
"""

from .rtmdet_head import BatchedRTMDetHead
from .yolox_head import BatchedYOLOXHead

__all__ = ["BatchedRTMDetHead", "BatchedYOLOXHead"]
