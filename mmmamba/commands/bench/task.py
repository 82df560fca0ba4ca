"""What every model is measured on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

DIVISOR = 32
"""Images are padded to multiples of it, as detectors pad them."""


@dataclass(frozen=True)
class Task:
    """Made-up images, and what is done with them."""

    height: int
    width: int
    batch: int
    device: torch.device
    dtype: torch.dtype
    train: bool
    """Forward and backward, not inference alone."""
    seconds: float = 3.0
    """How long calls are repeated, at least."""

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width that the models see."""
        height, width = (-(-side // DIVISOR) * DIVISOR for side in (self.height, self.width))
        return height, width

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context of a step."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)
