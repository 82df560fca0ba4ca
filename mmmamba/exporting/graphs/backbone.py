"""Bare backbones as functions of tensors."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from .base import Graph


class BackboneGraph(Graph):
    """From images to the maps of a backbone, `map0` … by its `out_indices`.

    A backbone of ours with `classifier` gives `logits`.
    """

    task: ClassVar[str] = "backbone"

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        classifies = getattr(backbone, "is_classifier", False)
        indices: Sequence[int] = getattr(backbone, "out_indices", ())
        names = tuple(f"map{index}" for index in indices)
        self.output_names = ("logits",) if classifies else names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.backbone(*inputs)
        return (found,) if isinstance(found, Tensor) else tuple(found)
