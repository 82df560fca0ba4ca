"""Parameters and multiply-adds of any call, and of a classifier without memory for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..layers import Attention
from ..models.backbones import create_backbone


@dataclass(frozen=True)
class Count:
    """What a classifier has and computes for one image."""

    parameters: int
    linear: float
    """Multiply-adds of convolutions and linear layers, in 10^9."""
    attention: float
    """Multiply-adds of the attention's products, in 10^9."""
    scan: float
    """Operations of the selective scan in 10^9, by VMamba's formula.

    Each channel and step has 9 for each of its states, and 1.
    """

    @property
    def gflops(self) -> float:
        """The sum in 10^9 as the field's tables give it: a multiply-add is one."""
        return self.linear + self.attention + self.scan


SCAN = "mmmamba.selective_scan"


def multiply_adds(call: Callable[[], Any]) -> dict[str, float]:
    """What a call computes, by operator, in 10^9.

    A multiply-add is one, and a scan counts as in `Count.scan`.
    """
    # Seen by operator, so fused and custom ones count too, if they have a formula. With gradients:
    # a module that is given a view of a parameter without them is an error of PyTorch's counter.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        call()
    counts = {
        str(operator): value / 1e9
        for operator, value in counter.get_flop_counts()["Global"].items()
    }
    # PyTorch counts a multiply-add as two.
    return {
        operator: value if operator == SCAN else value / 2 for operator, value in counts.items()
    }


def count(name: str, size: int) -> Count:
    """Count a backbone's classifier for an image of `size` x `size`."""
    with torch.device("meta"):
        model = create_backbone(name, classifier=True).eval()
    # Routes are index tables, made on the CPU: only the image is without memory here.
    with torch.no_grad():
        counts = multiply_adds(lambda: model(torch.empty(1, 3, size, size, device="meta")))
    scan = counts.pop(SCAN, 0.0)
    # Attention's products are batched; so are a scan's own projections, which are linear layers. No
    # family has both.
    attends = any(isinstance(module, Attention) for module in model.modules())
    attention = counts.pop("aten.bmm", 0.0) if attends else 0.0
    parameters = sum(p.numel() for p in model.parameters())
    return Count(parameters, sum(counts.values()), attention, scan)
