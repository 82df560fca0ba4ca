"""A small data set of small targets, drawn on the spot: bright spots on cluttered noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from .drawn_folder import drawn_folder

# Another drawing under the same specification is another data set.
VERSION = 1
MASK_AT = 0.4
"""Share of a spot's brightness above which a pixel is target."""


@dataclass(frozen=True)
class TargetsSpec:
    """What is drawn. `size` is the side of the square images in pixels."""

    num_train: int = 240
    num_val: int = 48
    size: int = 128
    max_targets: int = 3
    empty_every: int = 12
    seed: int = 0


def make_targets(root: str | Path, spec: TargetsSpec | None = None) -> Path:
    """Write the data set below `root` unless it is already there, and return `root`.

    Layout, as sets of small targets are distributed: `images/` and `masks/` (0 and 255) under the
    same names, and the lists of names `train.txt` and `val.txt`.

    Raises:
        FileExistsError: `root` holds files that this function did not write.
    """
    spec = spec or TargetsSpec()

    def draw(folder: Path) -> None:
        for split, count in (("train", spec.num_train), ("val", spec.num_val)):
            _write_split(folder, split, count, spec)

    wanted = {**asdict(spec), "of": "targets", "version": VERSION}
    return drawn_folder(Path(root), wanted, draw)


def draw_targets(
    rng: np.random.Generator, size: int, targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """One grey image (H, W; uint8) and the mask of its targets (H, W; bool)."""
    # Clouds: smooth, of several sizes, and brighter than some targets.
    scene_HW = np.zeros((size, size), dtype=np.float32)
    for cells, strength in ((4, 45.0), (11, 20.0)):
        coarse = rng.uniform(0, strength, size=(cells, cells)).astype(np.float32)
        scene_HW += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    scene_HW += 40 + rng.normal(0, 5, size=scene_HW.shape)
    mask_HW = np.zeros((size, size), dtype=bool)
    rows, columns = np.mgrid[:size, :size]
    for _ in range(targets):
        y, x = rng.uniform(6, size - 6, size=2)
        widths = rng.uniform(0.9, 1.9, size=2)
        spot_HW = np.exp(-(((rows - y) / widths[0]) ** 2 + ((columns - x) / widths[1]) ** 2) / 2)
        scene_HW += rng.uniform(70, 130) * spot_HW
        mask_HW |= spot_HW > MASK_AT
    return np.clip(scene_HW, 0, 255).astype(np.uint8), mask_HW


def _write_split(root: Path, split: str, count: int, spec: TargetsSpec) -> None:
    # A stream for each split: more training images leave the validation images as they are.
    rng = np.random.default_rng([spec.seed, {"train": 0, "val": 1}[split]])
    for folder in ("images", "masks"):
        (root / folder).mkdir(exist_ok=True)
    names = []
    for index in range(count):
        empty = index % spec.empty_every == spec.empty_every - 1
        targets = 0 if empty else int(rng.integers(1, spec.max_targets + 1))
        image_HW, mask_HW = draw_targets(rng, spec.size, targets)
        names.append(f"{split}_{index:05d}")
        cv2.imwrite(str(root / "images" / f"{names[-1]}.png"), image_HW)
        cv2.imwrite(str(root / "masks" / f"{names[-1]}.png"), mask_HW.astype(np.uint8) * 255)
    (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
