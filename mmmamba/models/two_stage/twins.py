"""mmdet's heads in their batched forms, with the same parts and parameters.

For what is made out of a detector of mmdet's own classes, which stays as it is.
"""

from typing import TypeVar

from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from torch import nn

from .cascade_roi_head import BatchedCascadeRoIHead
from .roi_extractor import SortedRoIExtractor
from .roi_head import BatchedRoIHead
from .rpn_head import BatchedRPNHead

Twin = TypeVar("Twin", bound=nn.Module)


def batched_rpn_head(head: RPNHead) -> BatchedRPNHead:
    """A proposal network's twin; itself if it is batched."""
    if isinstance(head, BatchedRPNHead):
        return head
    twin = _twin(head, BatchedRPNHead)
    twin._grids = {}
    return twin


def batched_roi_head(
    head: StandardRoIHead | CascadeRoIHead,
) -> BatchedRoIHead | BatchedCascadeRoIHead:
    """A region head's twin that pools as `SortedRoIExtractor` does."""
    names = ("bbox_roi_extractor", "mask_roi_extractor")
    found = {name: getattr(head, name, None) for name in names}
    extractors = {name: _sorted(one) for name, one in found.items() if one is not None}
    cascade = isinstance(head, CascadeRoIHead)
    return _twin(head, BatchedCascadeRoIHead if cascade else BatchedRoIHead, **extractors)


def _sorted(extractor: nn.Module) -> nn.Module:
    if isinstance(extractor, nn.ModuleList):
        return nn.ModuleList([_sorted(one) for one in extractor])
    return _twin(extractor, SortedRoIExtractor)


def _twin(module: nn.Module, kind: type[Twin], **parts: nn.Module) -> Twin:
    """A module of another class that shares all but these parts with a module."""
    made = kind.__new__(kind)
    made.__dict__ = {**module.__dict__, "_modules": {**module._modules, **parts}}
    return made
