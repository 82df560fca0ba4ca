"""Reading images and label maps of data sets, many at once, to see what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .regular import irregular

# What Pillow raises of files that are cut off, garbled, or far larger than any picture.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, StructError, Image.DecompressionBombError)
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
TURNING = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageFacts:
    """What a file holds. `error` says why it could not be read."""

    width: int = 0
    height: int = 0
    mode: str = ""
    turned: bool = False
    """Its EXIF orientation exchanges width and height, which stand here as stored."""
    deep: bool = False
    """It has more than 8 bits a channel."""
    alpha: bool = False
    error: str = ""

    @property
    def channels(self) -> int:
        """Channels that OpenCV finds in the file; grey with an alpha channel has four."""
        if self.mode == "1" or self.mode == "L" or self.mode in DEEP_MODES:
            return 1
        return 4 if self.alpha else 3

    @property
    def seen_size(self) -> tuple[int, int]:
        """Width and height as training sees them: turned by EXIF, which mmcv obeys."""
        return (self.height, self.width) if self.turned else (self.width, self.height)


def read_image_facts(path: str | Path, decode: bool = True) -> ImageFacts:
    """Look at an image.

    Args:
        decode: read it whole; otherwise its header only, and a file that is cut off is not noticed.
    """
    if found := irregular(path):
        return ImageFacts(error=found)
    try:
        with Image.open(path) as image:
            # Before it is read, which forgets how: of 16-bit colours Pillow makes 8 bits itself.
            deep = image.mode in DEEP_MODES or any(";16" in str(tile[3]) for tile in image.tile)
            alpha = "A" in image.getbands() or "transparency" in image.info
            if decode:
                image.load()
            # Pillow gives the size as stored, mmcv turns the image when it reads it.
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNING
            return ImageFacts(*image.size, image.mode, turned, deep, alpha)
    # An OSError too, so it stands before those.
    except FileNotFoundError:
        return ImageFacts(error="there is no such file")
    except UNREADABLE as error:
        return ImageFacts(error=str(error) or type(error).__name__)


def read_image(path: str | Path) -> np.ndarray:
    """The pixels (H, W, 3; blue, green, red), turned as EXIF says.

    Raises one of `UNREADABLE` where there is no image.
    """
    with Image.open(path) as image:
        seen = ImageOps.exif_transpose(image).convert("RGB")
    # Pillow's order is red, green, blue; the copy makes the turned view contiguous for OpenCV.
    return np.asarray(seen)[..., ::-1].copy()


def read_labels(path: str | Path) -> np.ndarray:
    """A label map as mmseg reads it, palette images by their indices; (H, W, C) if it has colours.

    Raises one of `UNREADABLE` where there is no image.
    """
    with Image.open(path) as image:
        return np.asarray(image)


def in_threads(
    work: Callable[[Item], Any], items: Sequence[Item], what: str
) -> Iterator[tuple[Item, Any]]:
    """Items with their results, in order, under a bar.

    They are worked on in threads, as decoders release the interpreter.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    workers = min(32, (os.cpu_count() or 1) + 2)
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar, ThreadPoolExecutor(workers) as pool:
        yield from zip(items, bar.track(pool.map(work, items), total=len(items), description=what))
