"""Finds images in folders of their classes: DATA/train/CLASS and DATA/val/CLASS, or DATA/CLASS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ..layout import LABEL_FOLDERS, SPLIT_NAMES, Part, images_below, is_image, split_names, split_of
from .dividing import both_validations, no_validation
from .label_maps import IMAGE_FOLDERS
from .objects import holds_objects

WANTED = (
    "wanted a folder of images for each class: DATA/train/CLASS and DATA/val/CLASS, or DATA/CLASS"
)
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")
"""What mmpretrain's CustomDataset reads where nothing else is said."""
NAMED = 6

Folders = dict[str, list[Path]]
"""Images of each class."""


@dataclass
class ClassData:
    """A data set of images that have a class each.

    Attributes:
        train, val, test: with a list of images and labels as `annotations`, or with the folder of
            the images, whose folders are the classes.
        endings: of the images, where there are others than mmpretrain reads.
        images: number of images to train on.
        said: what was chosen, a line each.
    """

    train: Part
    val: Part
    test: Part | None
    classes: tuple[str, ...]
    endings: tuple[str, ...]
    images: int
    said: list[str] = field(default_factory=list)


def find_classes(place: Path, out: Path, val_share: float | None = None) -> ClassData:
    """The data set below a folder.

    Args:
        out: folder for lists of images, which splits need that are made here or that lack a class.
        val_share: of the images of each class for validation, where they are not split.

    Raises:
        UsageError: the folder holds something else, no split and no `val_share`, or classes that
            differ from split to split.
    """
    if found := holds_objects(place):
        raise UsageError(
            f"{place} has {found} annotations of objects, and a classifier learns from images of a "
            f"class each: {WANTED}. For objects: --head mask_rcnn, rtmdet, …"
        )
    parts = class_folders(place)
    whole = None not in parts
    if whole and "train" not in parts:
        raise UsageError(f"{place} has images for {', '.join(map(str, parts))}, none for training")
    said = []
    roots = split_folders(place)
    if whole and "val" not in parts and "test" in parts:
        parts["val"], roots["val"] = parts.pop("test"), roots.pop("test")
        said.append(f"validation: {roots['val']}, as there is no other folder")
    if val_share is not None and "val" in parts:
        raise both_validations(place, roots["val"])
    train_root = roots.get("train", place)
    listed = set()
    if "val" not in parts:
        train = parts.pop(None, None) or parts["train"]
        if val_share is None:
            raise no_validation(place, f"{sum(map(len, train.values()))} images for training")
        parts["train"], parts["val"] = _divided(train_root, train, val_share)
        roots["train"] = roots["val"] = train_root
        listed = {"train", "val"}
    classes = tuple(sorted(parts["train"]))
    _check(place, classes, parts)
    splits = {}
    for split, folders in parts.items():
        part = Part(roots[split], roots[split])
        # mmpretrain numbers classes by the folders that are there.
        if split in listed or set(folders) != set(classes):
            part = _listed(part, folders, classes, out / f"{split}.txt")
            number = sum(map(len, folders.values()))
            said.append(f"{split}: {number} images, listed in {part.annotations}")
        splits[split] = part
    number = sum(map(len, parts["train"].values()))
    return ClassData(
        splits["train"], splits["val"], splits.get("test"), classes, _endings(parts), number, said
    )


def class_folders(place: Path) -> dict[str | None, Folders]:
    """Images by split and class; by None where no folder is called after a split.

    Raises:
        UsageError: there are no folders of classes.
    """
    if not place.is_dir():
        raise UsageError(f"{place} is no folder; a classifier learns from images: {WANTED}")
    roots = split_folders(place)
    parts: dict[str | None, Folders] = {split: _classes(root) for split, root in roots.items()}
    if not parts:
        parts[None] = _classes(place)
    for split, folders in parts.items():
        root = roots[split] if split else place
        # A class may be called so, but not all are.
        only_splits = split is None and all(split_of(Path(name)) for name in folders)
        if only_splits or not any(folders.values()):
            if folders and only_splits:
                root = root / next(iter(folders))
            loose = sum(map(is_image, root.iterdir()))
            raise UsageError(f"{root} has {loose} images and no folders of classes: {WANTED}")
        names = {name.lower() for name in folders if folders[name]}
        maps, images = names & set(map(str.lower, LABEL_FOLDERS)), names & set(IMAGE_FOLDERS)
        if maps and images:
            raise UsageError(
                f"{root} has the folders {', '.join(sorted(maps | images))}, which look like "
                f"images and label maps, not like classes: {WANTED}. For label maps: --head upernet"
            )
    return parts


def holds_classes(place: Path) -> bool:
    """Whether a folder has folders of images, which may be classes."""
    try:
        return bool(class_folders(place))
    except UsageError:
        return False


def split_folders(place: Path) -> dict[str, Path]:
    """The folders that are called after a split and have folders in them."""
    found = {}
    for split, names in SPLIT_NAMES.items():
        for name in names:
            folder = place / name
            if split not in found and folder.is_dir() and any(map(Path.is_dir, folder.iterdir())):
                found[split] = folder
    return found


def _classes(root: Path) -> Folders:
    """What lies in each folder below a root, hidden ones apart."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    return {folder.name: images_below(folder) for folder in folders}


def _check(place: Path, classes: tuple[str, ...], parts: dict[str | None, Folders]) -> None:
    if len(classes) < 2:
        raise UsageError(
            f"{place} has one class, {classes[0]}; a classifier tells two or more apart"
        )
    if empty := [name for name in classes if not parts["train"][name]]:
        raise UsageError(
            f"{place} has no images to train on in {_some(empty)}: wanted some in the folder of "
            "each class; remove those that are none"
        )
    for split, folders in parts.items():
        unknown = [name for name in folders if name not in classes and folders[name]]
        if unknown:
            raise UsageError(
                f"{place}: {split} has images of {_some(unknown)}, which training does not have: "
                "wanted the same classes in both"
            )


def _divided(root: Path, train: Folders, share: float) -> tuple[Folders, Folders]:
    """A share of each class held out."""
    kept: Folders = {}
    held: Folders = {}
    for name, images in train.items():
        by_name = {image.relative_to(root).as_posix(): image for image in images}
        for part, chosen in zip((kept, held), split_names(by_name, share)):
            part[name] = [by_name[one] for one in chosen]
        if images and not kept[name]:
            raise UsageError(
                f"{images[0].parent} has {len(images)} images, too few to divide by --val-share "
                f"{share}"
            )
    return kept, held


def _listed(part: Part, folders: Folders, classes: tuple[str, ...], file: Path) -> Part:
    """A split by a list of its images and their labels, as mmpretrain reads it."""
    lines = []
    for label, name in enumerate(classes):
        for image in folders.get(name, ()):
            lines.append(f"{image.relative_to(part.images).as_posix()} {label}\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines))
    return Part(part.images, file)


def _endings(parts: dict[str | None, Folders]) -> tuple[str, ...]:
    found: set[str] = set()
    for folders in parts.values():
        for images in folders.values():
            found |= {image.suffix.lower() for image in images}
    return (*ENDINGS, *sorted(found - set(ENDINGS))) if found - set(ENDINGS) else ()


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
