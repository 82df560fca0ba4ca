"""What makes two-stage detectors fast: whole batches on the device, in few kernels."""

from .batched_roi_head import BatchedRoIHead
from .batched_rpn_head import BatchedRPNHead
from .detectors import NoCopyCascadeRCNN, NoCopyMaskRCNN
from .device_assignment import DeviceMaxIoUAssigner, DeviceRandomSampler
from .packed_mask_head import PackedFCNMaskHead
from .sorted_roi_extractor import SortedRoIExtractor

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
