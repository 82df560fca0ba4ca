"""Finds images and label maps, one PNG an image, and what their values mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import UsageError
from ..checks.images import in_threads, read_labels
from ..checks.segmentation import read_label_map
from ..formats.files import class_file, class_names
from ..layout import IMAGE_SUFFIXES, LABEL_FOLDERS, SPLIT_NAMES, Part, split_names

IMAGE_FOLDERS = ("images", "img_dir", "imgs", "image", "img", "JPEGImages", "rgb", "RGB")
IGNORED = 255


@dataclass
class LabelData:
    """A data set of label maps.

    Attributes:
        image_suffix, label_suffix: what follows a name common to both files, ".jpg" and
            "_mask.png".
        zero_ignored: 0 is no class (ADE20K's convention).
        images: number of images to train on.
        said: what was chosen, a line each.
    """

    train: Part
    val: Part
    test: Part | None
    classes: tuple[str, ...]
    image_suffix: str
    label_suffix: str
    zero_ignored: bool
    images: int
    said: list[str] = field(default_factory=list)


def find_label_maps(root: Path, out: Path, val_share: float | None = None) -> LabelData | None:
    """The data set below a folder, or None if it has no folders of images and of label maps.

    Args:
        out: folder for the lists of a split that is made here, and for label maps that have to be
            renumbered.
        val_share: of the images for validation, where they are in one folder.

    Raises:
        UsageError: no split and no `val_share`, images without label maps, label maps in colours,
            values that do not fit the file of classes.
    """
    parts = {
        split: found
        for split, names in SPLIT_NAMES.items()
        if (found := _folders(root, names)) is not None
    }
    # Without folders of splits, images and label maps may lie in one folder each.
    whole = _folders(root, ("",)) if "train" not in parts else None
    if "train" not in parts and whole is None:
        return None
    first = parts.get("train") or whole
    image_suffix = _image_suffix(first.images)
    names = _names(first.images, image_suffix)
    label_suffix = _label_suffix(first.annotations, names[0])
    said = []
    if "train" in parts and "val" not in parts and "test" in parts:
        parts["val"] = parts.pop("test")
        said.append(f"validation: {parts['val'].images}, as there is no other folder")
    # From here on names come from lists, not from what lies in the folders.
    if "val" not in parts or whole is not None:
        parts = _divided(root, first, names, out, val_share)
        names = parts["train"].names.read_text().splitlines()
        said += [
            f"{split}: {len(part.names.read_text().splitlines())} images, listed in {part.names}"
            for split, part in parts.items()
        ]
    values = _values(parts, image_suffix, label_suffix)
    # Masks of nothing and something are often saved as black and white.
    if set(values) <= {0, IGNORED} and IGNORED in values:
        parts = _renumbered(parts, values, image_suffix, label_suffix, out)
        said.append(
            f"label maps of 0 and 255 written as 0 and 1 below {out}: mmseg leaves 255 out of "
            "training"
        )
        values = {0: values[0], 1: values[IGNORED]}
    classes, zero_ignored, why = _classes(root, values)
    said.append(why)
    return LabelData(
        parts["train"],
        parts["val"],
        parts.get("test"),
        classes,
        image_suffix,
        label_suffix,
        zero_ignored,
        len(names),
        said,
    )


def _folders(root: Path, names: tuple[str, ...]) -> Part | None:
    """Folders of a split.

    They are images/train and labels/train, train/images and train/labels, or train and trainannot.
    """
    for name in names:
        for images, labels in product(IMAGE_FOLDERS, LABEL_FOLDERS):
            for part in (
                Part(root / images / name, root / labels / name),
                Part(root / name / images, root / name / labels),
            ):
                if _holds_images(part.images) and _holds_images(part.annotations):
                    return part
        # The layout of CamVid.
        if name and (root / name).is_dir() and (root / f"{name}annot").is_dir():
            return Part(root / name, root / f"{name}annot")
    return None


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(map(_is_image, folder.rglob("*")))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _image_suffix(folder: Path) -> str:
    """The one suffix of the images: mmseg reads files of one."""
    suffixes = Counter(path.suffix for path in folder.rglob("*") if _is_image(path))
    if len(suffixes) > 1:
        found = ", ".join(f"{n} of {suffix}" for suffix, n in suffixes.most_common())
        raise UsageError(
            f"{folder} holds images of several formats, {found}; mmseg reads one: convert the "
            "others"
        )
    return next(iter(suffixes))


def _names(folder: Path, suffix: str) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix().removesuffix(suffix)
        for path in folder.rglob(f"*{suffix}")
    )


def _label_suffix(folder: Path, name: str) -> str:
    """What the label map of an image has after its name, such as _mask.png."""
    # Names may hold folders, as mmseg searches them recursively.
    stem = Path(name).name
    found = []
    for path in sorted((folder / name).parent.glob("*")):
        if path.name.startswith(stem) and _is_image(path):
            found.append(path.name.removeprefix(stem))
    if not found:
        raise UsageError(f"{folder} has no label map for the image {name}: wanted {name}.png")
    # With a.png and ab.png there, the shorter one is the image's own.
    return min(found, key=len)


def _divided(
    root: Path, part: Part, names: list[str], out: Path, share: float | None
) -> dict[str, Part]:
    if share is None:
        raise UsageError(
            f"{root} has images for training and none for validation. --val-share 0.2 holds a "
            "fifth of them out"
        )
    chosen = split_names(names, share)
    if not all(chosen):
        raise UsageError(
            f"{part.images} has {len(names)} images, too few to divide by --val-share {share}"
        )
    out.mkdir(parents=True, exist_ok=True)
    parts = {}
    for split, members in zip(("train", "val"), chosen):
        target = out / f"{split}.txt"
        target.write_text("\n".join(members) + "\n")
        parts[split] = Part(part.images, part.annotations, target)
    return parts


def image_names(part: Part, image_suffix: str) -> list[str]:
    """The images of a split, without what follows their names."""
    return part.names.read_text().splitlines() if part.names else _names(part.images, image_suffix)


def _label_files(part: Part, image_suffix: str, label_suffix: str) -> list[Path]:
    names = image_names(part, image_suffix)
    return [part.annotations / f"{name}{label_suffix}" for name in names]


def _values(parts: dict[str, Part], image_suffix: str, label_suffix: str) -> Counter:
    """Pixels of each value in training and validation."""
    values: Counter = Counter()
    files = []
    for split in ("train", "val"):
        files += _label_files(parts[split], image_suffix, label_suffix)
    for file, label in in_threads(read_label_map, files, "label maps"):
        if label.error:
            raise UsageError(f"{file}: {label.error}")
        if label.channels > 1:
            raise UsageError(
                f"{file} is a picture in colours ({label.channels} channels); wanted one number a "
                "pixel, as grey or palette PNG"
            )
        values.update(label.pixels)
    return values


def _renumbered(
    parts: dict[str, Part], values: Counter, image_suffix: str, label_suffix: str, out: Path
) -> dict[str, Part]:
    """Copies of the label maps in which the values are numbered from 0."""
    # The test split too is renumbered, or it would be scored by other numbers.
    numbers = {value: index for index, value in enumerate(sorted(values))}
    moved = {}
    for split, part in parts.items():
        folder = out / "labels" / split
        for file in _label_files(part, image_suffix, label_suffix):
            labels = read_labels(file)
            copy = np.zeros(labels.shape, np.uint8)
            for value, number in numbers.items():
                copy[labels == value] = number
            target = folder / file.relative_to(part.annotations)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(copy).save(target)
        moved[split] = Part(part.images, folder, part.names)
    return moved


def _classes(root: Path, values: Counter) -> tuple[tuple[str, ...], bool, str]:
    """Names, whether 0 is none of them, and how that was found out."""
    highest = max((value for value in values if value != IGNORED), default=0)
    # Neither says whether 0 is a class; the file's length and the highest value together do.
    file = class_file(root)
    if file is None:
        names = tuple(
            "background" if value == 0 else f"class_{value}" for value in range(highest + 1)
        )
        found = f"{len(names)} classes, as the label maps hold 0 … {highest}"
        return names, False, f"{found}; write their names into the config"
    names = class_names(file)
    if highest < len(names):
        return names, False, f"{len(names)} classes from {file}, numbered from 0"
    # One value more than there are names: counted from 1, and 0 is none of them.
    if highest == len(names):
        return (
            names,
            True,
            f"{len(names)} classes from {file}, numbered from 1; 0 is left out of training",
        )
    raise UsageError(
        f"{file} names {len(names)} classes, but the label maps hold values up to {highest}"
    )
