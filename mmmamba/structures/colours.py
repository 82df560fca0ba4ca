"""Colours that can be told apart, also by those who see red and green alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Colour = tuple[int, int, int]
"""Red, green, blue; 0 … 255."""

FIRST = (238, 51, 51)
LEVELS = 16
"""Steps of red, of green and of blue, whose mixtures the colours are chosen from."""
LIGHT = 0.45, 0.9
"""Lightness between which a thin line is seen on dark and on light ground."""
COLOURFUL = 0.09
"""Least distance from grey."""
LIGHTNESS = 0.35
"""Weight of lightness in a distance: a dark and a light red (maroon, crimson) pass for one."""
COLOUR_BLIND = 0.5
"""Distances that colour-blind eyes are left, as a share of what others see."""

# Björn Ottosson's OKLab, from linear red, green and blue.
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OPPONENTS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# What eyes without red cones and without green cones see (Machado et al., IEEE TVCG 2009).
PROTANOPIA = np.array(
    [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
)
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def oklab(colours: np.ndarray, sight: np.ndarray | None = None) -> np.ndarray:
    """Lightness, green to red, blue to yellow of colours (N, 3; 0 … 255).

    Args:
        sight: `PROTANOPIA` or `DEUTERANOPIA`; None: as most eyes see.
    """
    share = np.asarray(colours, dtype=float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    if sight is not None:
        linear = (linear @ sight.T).clip(0, 1)
    return np.cbrt(linear @ CONES.T) @ OPPONENTS.T


@lru_cache
def spread_colours(count: int) -> tuple[Colour, ...]:
    """Colours, each as far from all before it as can be; the first are the same for any count."""
    candidates = _candidates()
    lab = oklab(candidates) * (LIGHTNESS, 1, 1)
    # Who sees no red and green needs lightness to tell colours apart.
    views = [lab, *(oklab(candidates, one) / COLOUR_BLIND for one in (PROTANOPIA, DEUTERANOPIA))]
    # To the nearest of the colours that are chosen, for every candidate.
    nearest = np.full(len(candidates), np.inf)
    index = int(np.abs(candidates - FIRST).sum(1).argmin())
    chosen = [index]
    while len(chosen) < count:
        for view in views:
            nearest = np.minimum(nearest, np.linalg.norm(view - view[index], axis=1))
        index = int(nearest.argmax())
        # All are taken: more classes than there are colours begin them anew.
        if nearest[index] == 0:
            nearest[:] = np.inf
        chosen.append(index)
    red_green_blue = candidates[chosen].tolist()
    return tuple((red, green, blue) for red, green, blue in red_green_blue[:count])


def _candidates() -> np.ndarray:
    """Mixtures that are neither greyish nor very dark or light."""
    levels = np.linspace(0, 255, LEVELS).round().astype(int)
    mixed = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, green_red, blue_yellow = oklab(mixed).T
    dark, light = LIGHT
    fit = (lightness > dark) & (lightness < light) & (np.hypot(green_red, blue_yellow) > COLOURFUL)
    return mixed[fit]
