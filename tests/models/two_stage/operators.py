"""Operators of a batch counted on a CPU, as if it were a GPU that has to be waited for."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from mmmamba.models.two_stage import (
    assignment,
    detections,
    regions,
    roi_extractor,
    rpn_head,
)
from mmmamba.ops import waiting

READS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::equal",
    "aten::item",
    "aten::masked_select",
    "aten::nonzero",
    "aten::unique_dim",
    "aten::_unique2",
    "new_tensor",
}
"""Operators that make Python wait for a GPU."""

# By its path, as `mmmamba.ops.best` is the function.
best = importlib.import_module("mmmamba.ops.best")


class Counted(TorchDispatchMode):
    """How often each operator runs, but for views, which launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split(".")[0]
        kwargs = kwargs or {}
        if not func.is_view:
            self.counts[name] += 1
        if name in ("aten::index", "aten::index_put_", "aten::index_put"):
            chosen = [one for one in args[1] if one is not None]
            if any(one.dtype in (torch.bool, torch.uint8) for one in chosen):
                self.counts["aten::nonzero"] += 1
        return func(*args, **kwargs)

    @property
    def reads(self) -> int:
        return sum(self.counts[name] for name in READS)

    @property
    def total(self) -> int:
        return self.counts.total()


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Count what a GPU would run; what is a kernel of ours there counts as one operator.

    On a CPU torchvision and mmdet do that in loops.
    """
    counted = Counted()

    def one(name: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            counted.counts[name] += 1
            with _disable_current_modes():
                return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for module in (best, detections, regions):
            patch.setattr(module, "costs_a_wait", lambda x: True)
        for module in (detections, rpn_head):
            patch.setattr(module, "grouped_nms", one("grouped_nms", detections.grouped_nms))
        patch.setattr(detections, "_paste", one("paste", detections._paste))
        extractor = roi_extractor.SortedRoIExtractor
        patch.setattr(extractor, "forward", one("roi_align", extractor.forward))
        assigner = assignment.DeviceMaxIoUAssigner
        patch.setattr(assigner, "assign_batch", one("match_boxes", assigner.assign_batch))
        # On a GPU it copies what Python has, and waits until it is there.
        patch.setattr(torch.Tensor, "new_tensor", one("new_tensor", torch.Tensor.new_tensor))
        patch.setattr(waiting.Readback, "tolist", one("readback", waiting.Readback.tolist))
        with counted:
            yield counted
