"""Finds annotation files in COCO format and the folders of their images."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ..checks.coco import LISTS, read_coco
from ..checks.regular import irregular
from ..checks.report import Report
from ..formats.labelme import HEAD, is_labelme
from ..layout import LABEL_FOLDERS, Part, split_of, walk
from .dividing import both_validations, divided, is_ours, no_validation, write_part

LOOKED_FOR = 20
"""Images of a file that must lie in a folder."""
NO_GROUP = (None, "none", "")
"""What a category that belongs to no other has as `supercategory`."""
OTHER_TASKS = ("captions", "keypoints", "panoptic", "stuff", "info", "notes")
"""Words in the names of JSON files that hold no objects; `notes.json` lies beside YOLO labels."""


@dataclass
class CocoData:
    """A data set in COCO format.

    Attributes:
        classes: in the order of the file, by which mmdet numbers them.
        masks: whether there are any.
        images: number of images to train on.
        said: what was chosen, a line each.
    """

    train: Part
    val: Part
    test: Part | None
    classes: tuple[str, ...]
    masks: bool
    images: int
    said: list[str] = field(default_factory=list)


def find_coco(root: Path, out: Path, val_share: float | None = None) -> CocoData | None:
    """The data set below a folder, or None if there is no JSON file.

    Args:
        out: folder for the files of a split that is made here.
        val_share: of the images for validation, where there is one annotation file.

    Raises:
        UsageError: several files for one split, no split and no `val_share`, images that are not
            there, files that are not COCO's or disagree about the classes.
    """
    chosen = files_by_split(root)
    if not chosen:
        return None
    said = []
    if "train" not in chosen and None in chosen and len(chosen) > 1:
        chosen["train"] = chosen.pop(None)
        said.append(f"training: {chosen['train']}, as no other file is for it by its name")
    only_file = chosen.get("train") or chosen.get(None)
    if only_file is None:
        raise UsageError(
            f"{root} has no annotation file for training, only {_names(root, chosen.values())}: "
            "name it annotations/instances_train.json"
        )
    train = read_file(only_file)
    images = image_folder(root, only_file, train)
    # Training needs a validation; of two files the second one is it, whatever its name.
    if "val" not in chosen and "test" in chosen and "train" in chosen:
        chosen["val"] = chosen.pop("test")
        said.append(f"validation: {chosen['val']}, as there is no other file")
    if "val" not in chosen or "train" not in chosen:
        return _divided(root, only_file, train, images, out, val_share)
    if val_share is not None:
        raise both_validations(root, chosen["val"])
    val = read_file(chosen["val"])
    classes, dropped = _classes(train)
    said += _left_out(dropped)
    if None in chosen:
        said.append(f"left out: {chosen[None]}, which is of no split by its name")
    _same_classes(only_file, classes, chosen["val"], _classes(val)[0])
    test = None
    if "test" in chosen:
        test = Part(image_folder(root, chosen["test"], read_file(chosen["test"])), chosen["test"])
    parts = (
        Part(images, only_file),
        Part(image_folder(root, chosen["val"], val), chosen["val"]),
        test,
    )
    return CocoData(*parts, classes, _has_masks(train), len(train["images"]), said)


def files_by_split(root: Path) -> dict[str | None, Path]:
    """The annotation file of each split; None is the split of one whose name says nothing.

    Raises:
        UsageError: several files for one split.
    """
    by_split: dict[str | None, list[Path]] = {}
    for file in annotation_files(root):
        by_split.setdefault(split_of(file.relative_to(root)), []).append(file)
    return {split: _only(root, split, found) for split, found in by_split.items()}


def annotation_files(root: Path) -> list[Path]:
    """Those below a folder that may be COCO's: other tasks', labelme's and ours are left out."""
    files = []
    for folder in walk(root):
        for file in sorted(folder.glob("*.json")):
            # COCO ships `person_keypoints_…`, `captions_…` and others in the same folder.
            if set(_words(file.stem)) & set(OTHER_TASKS):
                continue
            if not is_labelme(file) and not is_ours(file):
                files.append(file)
    return files


def looks_like_coco(file: Path) -> bool:
    """Whether a JSON file begins as those do; one of another tool may lie beside other labels."""
    if irregular(file):
        return False
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    return any(f'"{key}"'.encode() in head for key in LISTS)


def _divided(
    root: Path, file: Path, content: dict, images: Path, out: Path, share: float | None
) -> CocoData:
    """One file made into two, written beside the config: the user's data stays as it is."""
    if share is None:
        raise no_validation(root, f"one annotation file, {file.relative_to(root)}")
    classes, dropped = _classes(content)
    said = _left_out(dropped)
    parts = divided(content, share, str(file))
    written = []
    for split, part in zip(("train", "val"), parts):
        found, line = write_part(part, split, images, out)
        written.append(found)
        said.append(line)
    masks, number = _has_masks(content), len(parts[0]["images"])
    return CocoData(written[0], written[1], None, classes, masks, number, said)


def read_file(file: Path) -> dict:
    """The content of a COCO file that lists images; a UsageError where it is none."""
    report = Report("data", str(file))
    content = read_coco(file, report)
    if content is None:
        raise UsageError("; ".join(f"{finding}" for finding in report.stops))
    if not content["images"]:
        raise UsageError(f"{file} lists no images")
    return content


def _only(root: Path, split: str | None, files: list[Path]) -> Path:
    """The one annotation file of a split: COCO's `instances_` where there are others beside it."""
    instances = [file for file in files if file.name.startswith("instances")]
    # Where several are COCO's `instances_`, they cannot be told apart either.
    left = instances if len(instances) == 1 else files
    if len(left) > 1:
        kind = f"{split} files" if split else "files that say neither train nor val"
        raise UsageError(
            f"{root} has {len(left)} {kind}: {_names(root, left)}. One is wanted for a split: "
            "move the others elsewhere, or name another folder with --data"
        )
    return left[0]


def image_folder(root: Path, file: Path, content: dict) -> Path:
    """The folder in which the first images of a file lie.

    It is looked for first where the file is, then by the file's name and split.
    """
    names = [str(image.get("file_name")) for image in content["images"][:LOOKED_FOR]]
    stem = file.stem.removeprefix("instances_")
    split = split_of(file.relative_to(root)) if file.is_relative_to(root) else None

    def liking(folder: Path) -> tuple:
        """Sorts first what an image folder of this file would most likely be."""
        below = folder.relative_to(root)
        # False sorts before True: each line is a wish, the first outweighs all after it.
        return (
            folder != file.parent,
            bool(set(below.parts) & set(LABEL_FOLDERS)),
            folder.name != stem,
            split_of(below) != split,
            "images" not in _words(folder.name),
            len(below.parts),
        )

    folders = sorted(walk(root), key=liking)
    for folder in folders:
        if all((folder / name).is_file() for name in names):
            return folder
    # No folder has them all: the error names the one that comes nearest.
    partly = max(folders, key=lambda folder: sum((folder / name).is_file() for name in names))
    there = [name for name in names if (partly / name).is_file()]
    if not there:
        raise UsageError(
            f"the images of {file} are nowhere below {root}: wanted {names[0]} and others"
        )
    missing = next(name for name in names if name not in there)
    raise UsageError(
        f"{partly} holds {len(there)} of the first {len(names)} images of {file}, but not {missing}"
    )


def _classes(content: dict) -> tuple[tuple[str, ...], list[str]]:
    """Names of the categories, and of those left out.

    Roboflow's files begin with a group that nothing belongs to.
    """
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    groups = {category.get("supercategory") for category in content["categories"]}
    names, dropped = [], []
    for category in content["categories"]:
        # A group that has annotations is a class all the same.
        is_group = category["name"] in groups and category.get("supercategory") in NO_GROUP
        unused = category["id"] not in used
        (dropped if is_group and unused else names).append(category["name"])
    return tuple(name for name in names if name not in dropped), dropped


def _left_out(dropped: list[str]) -> list[str]:
    """A line for each category that is no class."""
    reason = "which groups the others and has no annotation"
    return [f"left out: category {name!r}, {reason}" for name in dropped]


def _same_classes(
    train_file: Path, train: tuple[str, ...], val_file: Path, val: tuple[str, ...]
) -> None:
    if train != val:
        raise UsageError(
            f"the classes differ: {train_file} has {', '.join(train)}; {val_file} has "
            f"{', '.join(val)}. Both need the same categories in the same order"
        )


def _has_masks(content: dict) -> bool:
    return any(annotation.get("segmentation") for annotation in content["annotations"])


def _names(root: Path, files: Iterable[Path]) -> str:
    return ", ".join(str(file.relative_to(root)) for file in files)


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", name.lower())
