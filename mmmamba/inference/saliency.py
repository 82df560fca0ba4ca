"""Where people look in an image, as a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..visualization.heat import tint_heat
from ..visualization.style import save_image
from .results import Result


@dataclass(repr=False)
class Saliency(Result):
    """How salient each pixel of an image (H, W, 3; blue, green, red) is.

    `y, x = found.peak; found.save_map("map.png")`

    Attributes:
        map: (H, W) of float32, from 0 to 1.
        path: where the image came from, None for an array.
    """

    image: np.ndarray
    map: np.ndarray
    path: str | None = None

    def __repr__(self) -> str:
        y, x = self.peak
        return self._line([f"most salient at x {x}, y {y} ({self.map[y, x]:.2f})"])

    @property
    def peak(self) -> tuple[int, int]:
        """Row and column of the most salient pixel."""
        y, x = np.unravel_index(int(self.map.argmax()), self.map.shape)
        return int(y), int(x)

    def plot(self) -> np.ndarray:
        return tint_heat(self.image, self.map)

    def rows(self) -> list[dict[str, Any]]:
        """One dict: the most salient pixel, how salient it is, and the mean of all."""
        y, x = self.peak
        values = (x, y, float(self.map[y, x]), float(self.map.mean()))
        return [dict(zip(self._columns(), values))]

    def _columns(self) -> list[str]:
        return ["peak_x", "peak_y", "peak", "mean"]

    def save_map(self, path: str | Path) -> Path:
        """Write the map as a grey PNG of 16 bits, 65535 for 1.

        Raises:
            OSError: it could not be written.
        """
        return save_image(path, np.round(65535 * self.map.clip(0, 1)).astype(np.uint16))
