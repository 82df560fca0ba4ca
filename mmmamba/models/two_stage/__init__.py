"""What makes a two-stage detector fast: whole batches on the device, few kernels, no looks at it.

Each class is mmdet's with the same parameters, losses, proposals and results, and takes its place
by name in a config. A training step goes through them in this order:

1. `PackMasks` (`datasets/transforms/pack_masks.py`) ends the data pipeline: instance masks travel
   to the GPU as bits, in `PackedMasks` (`structures/packed_masks.py`); a batch leaves its worker
   in one piece (`datasets/shared_batch.py`).
2. `NoCopyMaskRCNN` or `NoCopyCascadeRCNN` (`detectors`) hands the samples to both stages as they
   are, and their ground truth filled up to one number in each image.
3. `BatchedRPNHead` (`rpn_head`, with `anchor_grid` and `candidates`) assigns anchors, draws
   samples, and computes losses, for all images at once, and proposals, whose number it does not
   ask (`proposals`).
4. `BatchedRoIHead` (`roi_head`) or `BatchedCascadeRoIHead` (`cascade_roi_head`) samples regions
   into a fixed number of places (`regions`) and weighs losses by which of them are filled
   (`region_losses`). Features come from `SortedRoIExtractor` (`roi_extractor`). Both stages ask
   `DeviceMaxIoUAssigner` and `DeviceRandomSampler` (`assignment`), which read nothing back; on a
   GPU the former is two kernels (`ops/match_boxes.py`).
5. `PackedFCNMaskHead` (`mask_head`) crops its targets from the packed masks where its predictions
   are.

A prediction goes from the proposals through `batched_results` and `detections`, which reads back
one number for each image: how many objects there are. What the batched ways know is said in
`known`; `waiting` and `box_coding` hold how waits for the GPU are kept out.
"""

from .assignment import DeviceMaxIoUAssigner, DeviceRandomSampler
from .cascade_roi_head import BatchedCascadeRoIHead
from .detectors import NoCopyCascadeRCNN, NoCopyMaskRCNN
from .mask_head import PackedFCNMaskHead
from .roi_extractor import SortedRoIExtractor
from .roi_head import BatchedRoIHead
from .rpn_head import BatchedRPNHead

__all__ = [
    "BatchedCascadeRoIHead",
    "BatchedRPNHead",
    "BatchedRoIHead",
    "DeviceMaxIoUAssigner",
    "DeviceRandomSampler",
    "NoCopyCascadeRCNN",
    "NoCopyMaskRCNN",
    "PackedFCNMaskHead",
    "SortedRoIExtractor",
]
