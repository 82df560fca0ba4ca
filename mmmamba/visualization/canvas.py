"""An image at the size at which it is drawn on: large enough for names on it to be read."""

from __future__ import annotations

import cv2
import numpy as np

READABLE = 480
"""Pixels of the long side from which names on an image can be read."""


def displayed(image: np.ndarray) -> np.ndarray:
    """An image (H, W) or (H, W, C) as (H, W, 3) in eight bits.

    One channel is grey, of more the first three are shown. Values that are no 0 … 255, as those of
    16 bits or normalised ones, are spread over them. What has this form already is not copied.
    """
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    low, high = float(image.min()), float(image.max())
    # Values from 0 to 1 or around 0 were normalised, others are the file's.
    if image.dtype != np.uint8 and (low < 0 or not 1 < high <= 255):
        image = (image - low) / max(high - low, 1e-6) * 255
    return np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))


def enlarge(image: np.ndarray) -> tuple[np.ndarray, int]:
    """A copy (H, W, 3) in eight bits to draw on, and how many times larger it is than the image."""
    # Always a copy: callers draw on it, and the image is the user's.
    canvas = np.clip(image, 0, 255).astype(np.uint8)
    # A whole number, so that masks and label maps grow without a shift.
    scale = -(-READABLE // max(canvas.shape[:2]))
    if scale > 1:
        canvas = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return canvas, scale


def enlarge_labels(labels_HW: np.ndarray, scale: int) -> np.ndarray:
    """A mask or label map as many times larger, without values between its own."""
    if scale == 1:
        return labels_HW
    return cv2.resize(labels_HW, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


def fit(image: np.ndarray, side: int = READABLE) -> np.ndarray:
    """The image made larger or smaller, so that its long side has `side` pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    # Averages when it shrinks, which thin lines survive; cubic when it grows.
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def fit_labels(labels_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask or label map at another size, without values between its own."""
    return cv2.resize(labels_HW, (width, height), interpolation=cv2.INTER_NEAREST)
