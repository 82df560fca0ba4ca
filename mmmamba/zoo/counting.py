"""Parameters and multiply-adds of a backbone, counted without memory for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models.backbones import create_backbone


@dataclass(frozen=True)
class Count:
    """Of a classifier for one image."""

    parameters: int
    linear: float
    """Multiply-adds of convolutions and linear layers, in 10^9."""
    attention: float
    """Multiply-adds of the attention's products, in 10^9."""
    scan: float
    """Operations of the selective scan, 9 for each state and 1 of each channel and step (VMamba's formula), in 10^9."""

    @property
    def gflops(self) -> float:
        """As the field's tables give it: a multiply-add is one."""
        return self.linear + self.attention + self.scan


def count(name: str, size: int) -> Count:
    """Count a backbone's classifier for an image of `size` x `size`."""
    with torch.device("meta"):
        model = create_backbone(name, classifier=True).eval()
    # Routes are index tables, made on the CPU: only the image is without memory here.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    counts = {str(operator): value / 1e9 for operator, value in counter.get_flop_counts()["Global"].items()}
    scan = counts.pop("mmmamba.selective_scan", 0.0)
    # The products of a scan's own projections are grouped like attention's, but belong to linear layers.
    attention = counts.pop("aten.bmm", 0.0) if type(model).__name__ == "MambaVision" else 0.0
    parameters = sum(p.numel() for p in model.parameters())
    # PyTorch counts a multiply-add as two.
    return Count(parameters, sum(counts.values()) / 2, attention / 2, scan)
