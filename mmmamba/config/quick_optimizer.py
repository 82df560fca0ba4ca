"""Optimizers whose step takes a GPU a handful of kernels instead of thousands."""

from __future__ import annotations

from typing import Any

from .signatures import class_name

FUSED = ("AdamW", "Adam", "SGD")
"""Optimizers that PyTorch has a kernel for."""
MERGED = "MergedOptimWrapperConstructor"


def quicken_optimizer(wrapper: dict[str, Any]) -> None:
    """Have a config's optimizer update few groups, by one kernel each: the step is the same.

    MMEngine makes a group of every parameter once there is a `paramwise_cfg`, and PyTorch updates
    one after the other. What a config says itself stays: a `constructor`, `fused`, `foreach`; so
    do several optimizers.
    """
    optimizer = wrapper.get("optimizer")
    if not isinstance(optimizer, dict) or "type" not in optimizer:
        return
    if class_name(optimizer["type"]) in FUSED and "foreach" not in optimizer:
        optimizer.setdefault("fused", True)
    if wrapper.get("paramwise_cfg"):
        wrapper.setdefault("constructor", MERGED)
