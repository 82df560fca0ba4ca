"""Files of saliency: which belong together, and what is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..layout import IMAGE_SUFFIXES, images_below

FIXATION_SUFFIXES = (*IMAGE_SUFFIXES, ".mat")


@dataclass(frozen=True)
class Triple:
    """An image with its maps; None for one that is not there, or not asked for."""

    image: Path
    saliency: Path | None
    fixation: Path | None


def triples(images: Path, saliency: Path, fixations: Path | None = None) -> list[Triple]:
    """The images of a folder and of those below it, each with the maps of its name.

    Maps lie in folders as the images do, under any ending that is known.
    """
    maps = _by_name(saliency, IMAGE_SUFFIXES)
    points = _by_name(fixations, FIXATION_SUFFIXES) if fixations else {}
    found = []
    for image in images_below(images):
        name = image.relative_to(images).with_suffix("")
        found.append(Triple(image, maps.get(name), points.get(name)))
    return found


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Files of a folder by their names without ending."""
    if not folder.is_dir():
        return {}
    return {path.relative_to(folder).with_suffix(""): path for path in _files(folder, suffixes)}


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            yield path


def read_saliency(content: bytes, name: str) -> np.ndarray:
    """A saliency map (H, W) of float32 from 0 to 1, the range of the file's numbers.

    Args:
        content: of an image file, of 8 or 16 bits.
        name: of the file, for errors.

    Raises:
        ValueError: no image, or one with colours.
    """
    grey = _grey(content, name)
    return grey.astype(np.float32) / np.iinfo(grey.dtype).max


def read_fixations(content: bytes, name: str) -> np.ndarray:
    """Where somebody looked: (H, W) of uint8, 1 there and 0 elsewhere.

    Args:
        content: of an image file that is not 0 there, or of one of SALICON's `.mat` files.
        name: of the file, for errors.

    Raises:
        ValueError: no such file.
    """
    if name.lower().endswith(".mat"):
        return _read_salicon(content, name)
    return (_grey(content, name) > 0).astype(np.uint8)


def _grey(content: bytes, name: str) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{name} is no image of 8 or 16 bits")
    if image.ndim == 2:
        return image
    colours = image[..., :3]
    # Grey that was stored as colours.
    if image.shape[2] < 3 or (colours != colours[..., :1]).any():
        raise ValueError(f"{name} has colours, wanted one number a pixel (a grey image)")
    return np.ascontiguousarray(colours[..., 0])


def _read_salicon(content: bytes, name: str) -> np.ndarray:
    """SALICON's `.mat`: `resolution`, and for each viewer `gaze.fixations`, x and y from 1 on."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        held: dict[str, Any] = loadmat(io.BytesIO(content))
        height, width = (int(side) for side in held["resolution"].ravel())
        viewers = held["gaze"].ravel()["fixations"]
        points = np.concatenate([viewer.reshape(-1, 2) for viewer in viewers])
    except (MatReadError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{name} is no file of fixations as SALICON's ({type(error).__name__}: {error}): "
            "wanted `resolution` and `gaze` with `fixations`"
        ) from error
    fixations = np.zeros((height, width), np.uint8)
    columns, rows = (points.astype(np.int64) - 1).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    fixations[rows[inside], columns[inside]] = 1
    return fixations


def resized_saliency(map_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at another size (height, width): means where it shrinks, linear between where not."""
    if map_HW.shape == size:
        return map_HW
    shrinks = size[0] * size[1] < map_HW.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(map_HW, size[::-1], interpolation=how)


def moved_fixations(fixation_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fixations at another size (height, width): every one of them moved, none lost or doubled.

    Those that come to lie on one pixel become one.
    """
    if fixation_HW.shape == size:
        return fixation_HW
    places = np.nonzero(fixation_HW)
    # The pixel in which the middle of the old one lies.
    rows, columns = (
        ((place + 0.5) * new / old).astype(np.int64)
        for place, old, new in zip(places, fixation_HW.shape, size)
    )
    moved = np.zeros(size, fixation_HW.dtype)
    moved[rows, columns] = 1
    return moved
