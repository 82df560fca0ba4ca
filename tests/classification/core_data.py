"""Folders of classes that are drawn, and a config over a written one that trains in no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")
SIDE = 40
# A network small enough to train within a test; mixed precision is for GPUs.
TINY = """
_base_ = "./mine.py"
model = dict(
    backbone=dict(
        _delete_=True,
        type="VMamba",
        arch=dict(embed_dims=8, depths=(1, 1, 1, 1)),
        classifier=True,
        num_classes=3,
    ),
)
optim_wrapper = dict(type="OptimWrapper")
"""
SHORT = ["--imgsz", "32", "--workers", "0", "--device", "cpu"]


def draw(root: Path, images: int = 4, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """Noise in the colour of each class, in a folder for each."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            pixels = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
            pixels[..., 2 - label % 3] += 150
            Image.fromarray(pixels).save(root / name / f"{name}_{number}.png")
    return root


def draw_splits(root: Path) -> Path:
    """A folder with images to train and to validate on."""
    draw(root / "train")
    draw(root / "val", 2, seed=1)
    return root
