"""What every model is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...engine.precision import Precision

DIVISOR = 32
"""Images are padded to multiples of it, as detectors pad them."""


@dataclass(frozen=True)
class Task:
    """Made-up images, and what is done with them."""

    height: int
    width: int
    batch: int
    device: torch.device
    precision: Precision
    train: bool
    """Forward and backward, not inference alone."""
    seconds: float = 3.0
    """How long calls are repeated, at least."""
    graphs: int | str = "off"
    """What of models of ours is replayed as CUDA graphs."""
    divisor: int = DIVISOR

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width that the models see."""
        height, width = (
            -(-side // self.divisor) * self.divisor for side in (self.height, self.width)
        )
        return height, width
