"""Predictions in half precision whose results are computed from the network's maps in full.

Between a network's maps and its results a detector computes coordinates and a segmentor scales
logits up. In bfloat16 a coordinate near 1000 would be off by up to 2 pixels, and scores would be
equal that are not. MMDetection and MMSegmentation both do this in the `predict_by_feat` of a head,
MMPretrain makes scores of logits in its `_get_predictions`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..errors import UsageError
from ..layers.precision import full_precision
from ..ops.waiting import Readback
from .kept_casts import KeptCasts
from .precision import HALF, Precision

logger = logging.getLogger("mmmamba")

MAKE_RESULTS = ("predict_by_feat", "_get_predictions")
"""Methods of heads that make results of a network's maps or logits."""


class Overflow:
    """Whether maps in float16 hold what is beyond its range.

    The answer travels to the host beside the results, which are waited for anyway.
    """

    def __init__(self) -> None:
        self._largest: Tensor | None = None
        self._read: Readback | None = None

    def see(self, maps: list[Tensor]) -> None:
        # Minus infinity may stand for what is left out. An overflow to it alone is none that could
        # be told from that; most become NaN on their way.
        halves = [x for x in maps if x.dtype == torch.float16 and x.numel()]
        if not halves:
            return
        largest = torch.stack(torch._foreach_max(halves)).max()
        if self._largest is not None:
            largest = torch.maximum(largest, self._largest)
        self._largest, self._read = largest, Readback(largest)

    def read(self) -> bool:
        """Whether there was any since it was last read."""
        if self._read is None:
            return False
        value = float(self._read.tolist())
        self._largest = self._read = None
        return math.isnan(value) or value == math.inf


def predict_in(network: nn.Module, precision: Precision) -> TestStep:
    """Have a network's `test_step` predict in a precision, with results in float32.

    Of several calls the last one holds.

    Args:
        network: a detector, a segmentor, or any other of MMEngine's models, without wrappers.

    Returns:
        The step, whose `precision` is another once float16 has overflowed.
    """
    overflow = full_precision_results(network, precision.device)
    step = network.test_step
    if isinstance(step, TestStep):
        plain, casts = step.step, step.casts
    else:
        plain, casts = step, KeptCasts(network, precision.device.type)
    logger.info("predictions in %s; --precision names another", precision)
    network.test_step = made = TestStep(plain, precision, overflow, casts)
    return made


def full_precision_results(network: nn.Module, device: torch.device) -> Overflow:
    """Have heads compute results from their maps in float32, outside of autocast.

    Returns:
        What notices that maps in float16 overflowed.
    """
    overflow = Overflow()
    for name, module in network.named_modules():
        # The one that joins masks of classes and of objects takes maps by another method.
        keys = ("predict",) if name == "panoptic_fusion_head" else MAKE_RESULTS
        for key in keys:
            method = getattr(module, key, None)
            if method is not None:
                plain = method.method if isinstance(method, _FullPrecision) else method
                setattr(module, key, _FullPrecision(plain, device.type, overflow))
    return overflow


class _FullPrecision:
    """A method that gets float32 in the place of half precision, outside of autocast."""

    def __init__(self, method: Callable[..., Any], device_type: str, overflow: Overflow):
        self.method, self.device_type, self.overflow = method, device_type, overflow

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        halves: list[Tensor] = []
        args, kwargs = _widened(args, halves), _widened(kwargs, halves)
        self.overflow.see(halves)
        with torch.autocast(self.device_type, enabled=False):
            return self.method(*args, **kwargs)


class TestStep:
    """A network's `test_step` in a precision."""

    def __init__(
        self,
        step: Callable[[Any], Any],
        precision: Precision,
        overflow: Overflow,
        casts: KeptCasts,
    ):
        self.step, self.precision = step, precision
        self.overflow, self.casts = overflow, casts

    def __call__(self, data: Any) -> Any:
        results = self._run(data)
        if not self.overflow.read():
            return results
        wider = self.precision.after_overflow
        if wider is None:
            raise UsageError(
                "this model computes values beyond the range of float16 (65504) on these images, "
                "and what it would find is wrong: --precision bfloat16, or float32"
            )
        self.precision = replace(
            self.precision, dtype=wider, why="float16 overflowed", after_overflow=None
        )
        logger.warning(
            "this model computes values beyond the range of float16 (65504): from here on "
            "predictions are in %s",
            self.precision,
        )
        return self._run(data)

    def _run(self, data: Any) -> Any:
        with self.precision.context(), self.casts.within(self.precision.dtype):
            results = self.step(data)
        for sample in results if isinstance(results, list) else ():
            _widen_fields(sample)
        return results


def _widened(node: Any, halves: list[Tensor]) -> Any:
    """Nested tensors with float32 in the place of half precision; `halves` gets what there was."""
    if isinstance(node, Tensor):
        if node.dtype not in HALF:
            return node
        halves.append(node)
        return full_precision(node)
    if type(node) is dict:
        return {key: _widened(value, halves) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        parts = [_widened(part, halves) for part in node]
        # A named tuple takes its parts one by one.
        return type(node)(*parts) if hasattr(node, "_fields") else type(node)(parts)
    return node


def _widen_fields(sample: Any) -> None:
    """Results in float32, which metrics and NumPy take: it knows no bfloat16."""
    if not isinstance(sample, BaseDataElement):
        return
    for name, value in list(sample.items()):
        if isinstance(value, BaseDataElement):
            _widen_fields(value)
        elif getattr(value, "dtype", None) in HALF:
            # Boxes in a class of mmdet's have a dtype and `to` as tensors have.
            sample.set_field(value.to(torch.float32), name)
