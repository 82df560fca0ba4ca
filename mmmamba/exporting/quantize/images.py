"""The images that int8 is calibrated on, as a file takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...config.find import find_config
from ...config.open import open_config
from ...datasets.counting import training_images
from ...datasets.layout import IMAGE_SUFFIXES
from ...errors import UsageError
from ..metadata import Inputs
from ..preparing import prepare
from ..verify.batches import packed, read_image
from .search import FEWEST

MOST = 32
"""Images that are used: more change the ranges no further."""


class Batches(Sequence[dict[str, np.ndarray]]):
    """Batches of a file's inputs, whose images are read when they are asked for.

    Args:
        files: paths of images, and of their second ones.
    """

    def __init__(self, files: Sequence[tuple[str, str | None]], inputs: Inputs) -> None:
        self.inputs = inputs
        # Images of a file that takes any number of them may have any size.
        count = inputs.batch or 1
        rows = [list(files[start : start + count]) for start in range(0, len(files), count)]
        self._rows = [(row + [row[-1]] * count)[:count] for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place):  # type: ignore[no-untyped-def, override]
        pictures = [read_image(file, self.inputs, second) for file, second in self._rows[place]]
        return packed([prepare(one, self.inputs) for one in pictures], self.inputs).inputs


def calibration(source: str | Path, inputs: Inputs, most: int = MOST) -> Batches:
    """Images of a folder and those below it, or of those that a config trains on.

    Raises:
        UsageError: there is no such folder or config, there are too few images, or one cannot be
            read (when it is asked for).
    """
    folder = Path(source)
    if folder.is_dir():
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise UsageError(
                f"--calibrate {source}: there is no image in this folder (a file that ends in "
                f"{', '.join(IMAGE_SUFFIXES)}). Name one with some hundred images"
            )
        if inputs.second_channels:
            raise UsageError(
                f"--calibrate {source}: the model takes pairs, and a folder does not say which "
                "images belong together. Name the config, whose training images are taken"
            )
        step = max(1, len(found) // most)
        files = [(str(path), None) for path in found[::step][:most]]
    else:
        cfg = open_config(find_config(source))
        files = training_images(cfg, most)
    if len(files) < FEWEST:
        raise UsageError(
            f"--calibrate {source}: there are {len(files)} images, wanted {FEWEST} at least, "
            "better some hundred such as the model will see"
        )
    return Batches(files, inputs)
