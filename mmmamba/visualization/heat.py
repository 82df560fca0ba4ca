"""How salient each pixel of an image is, as a glow over it."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import enlarge

OPACITY = (0.4, 0.75)
"""Where nothing is salient, and where most is."""


def tint_heat(image: np.ndarray, map_HW: np.ndarray) -> np.ndarray:
    """The image under its map's colours, from dark (0) to bright (the highest value of the map).

    The image is (H, W, 3; blue, green, red) and enlarged if it is small; the map may have any size.
    """
    canvas, _ = enlarge(image)
    height, width = canvas.shape[:2]
    highest = float(map_HW.max())
    shares_HW = (map_HW / highest if highest > 0 else map_HW).astype(np.float32)
    shares_HW = cv2.resize(shares_HW, (width, height), interpolation=cv2.INTER_LINEAR)
    # OpenCV's table is that of `style.HEAT`.
    levels_HW = np.round(255 * shares_HW).astype(np.uint8)
    glow_HWC = cv2.applyColorMap(levels_HW, cv2.COLORMAP_INFERNO)
    low, high = OPACITY
    opacity_HW1 = (low + (high - low) * shares_HW)[..., None]
    mixed_HWC = canvas * (1 - opacity_HW1) + glow_HWC * opacity_HW1
    return np.round(mixed_HWC).astype(np.uint8)
