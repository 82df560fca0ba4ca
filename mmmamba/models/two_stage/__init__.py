"""What makes a two-stage detector's training step fast: whole batches on the device, few kernels.

Each class is mmdet's with the same parameters, losses and proposals, and takes its place by name in
a config. A step goes through them in this order:

1. `PackMasks` (`datasets/transforms/pack_masks.py`) ends the data pipeline: instance masks travel
   to the GPU as bits, in `PackedMasks` (`structures/packed_masks.py`).
2. `NoCopyMaskRCNN` or `NoCopyCascadeRCNN` (`detectors`) hands the samples to the proposal network
   as they are.
3. `BatchedRPNHead` (`rpn_head`) assigns anchors, draws samples, and computes losses and proposals,
   for all images at once.
4. `BatchedRoIHead` (`roi_head`) does so for the regions, whose features `SortedRoIExtractor` in the
   same file reads. Both heads ask `DeviceMaxIoUAssigner` and `DeviceRandomSampler` (`assignment`),
   which read nothing back from the GPU.
5. `PackedFCNMaskHead` (`mask_head`) crops its targets from the packed masks where its predictions
   are.

Cascade R-CNN has mmdet's own region head, with the assigner, sampler and mask head from here.
"""

from .assignment import DeviceMaxIoUAssigner, DeviceRandomSampler
from .detectors import NoCopyCascadeRCNN, NoCopyMaskRCNN
from .mask_head import PackedFCNMaskHead
from .roi_head import BatchedRoIHead, SortedRoIExtractor
from .rpn_head import BatchedRPNHead

__all__ = [
    "BatchedRPNHead",
    "BatchedRoIHead",
    "DeviceMaxIoUAssigner",
    "DeviceRandomSampler",
    "NoCopyCascadeRCNN",
    "NoCopyMaskRCNN",
    "PackedFCNMaskHead",
    "SortedRoIExtractor",
]
