"""Labelled objects below a folder, in whichever format: COCO files, or others made into them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ...errors import UsageError
from ...suggest import did_you_mean
from ..checks.kinds import KINDS
from ..checks.report import Finding
from ..formats import Converted, convert, find_source
from ..formats.yolo_yaml import find_yaml
from ..layout import Part
from .coco import CocoData, annotation_files, find_coco, looks_like_coco
from .dividing import both_validations, divided, no_validation, write_part

SHOWN = 20
"""Findings of each kind that are printed; the file has all."""
ORDER = ("stop", "fault", "note")


def data_folder(place: Path) -> Path:
    """The folder of what `--data` names, which is a folder or a `data.yaml`.

    Raises:
        UsageError: neither is there.
    """
    if place.is_dir():
        return place.resolve()
    if place.is_file():
        return place.resolve().parent
    beside = sorted(path.name for path in place.parent.iterdir()) if place.parent.is_dir() else []
    hint = did_you_mean(place.name, beside)
    raise UsageError(f"there is no folder or file {place}, seen from {Path.cwd()}.{hint}")


def find_objects(place: Path, out: Path, val_share: float | None = None) -> CocoData | None:
    """The data set of a folder or a `data.yaml`, or None where no labels of objects are there.

    Args:
        out: folder for the COCO files that label files become, and of a split that is made here.
        val_share: of the images for validation, where they are not split.

    Raises:
        UsageError: the labels cannot be used as they are; the message says why.
    """
    if is_coco(place):
        data = find_coco(place, out, val_share)
        described = find_yaml(place)
        if data is not None and described is not None:
            data.said.append(f"COCO files are taken; --data {described} reads YOLO labels instead")
        return data
    source = find_source(place)
    if source is not None:
        return write_coco(convert(source), out, val_share)
    # JSON files that begin otherwise: what they lack is told.
    return find_coco(place, out, val_share)


def holds_objects(place: Path) -> str:
    """The format of the labels that are found; empty where there are none."""
    if is_coco(place):
        return "COCO"
    source = find_source(place)
    return source.format if source else ""


def is_coco(place: Path) -> bool:
    """Whether a folder has COCO files, which go before labels in other formats."""
    return place.is_dir() and any(map(looks_like_coco, annotation_files(place)))


def write_coco(converted: Converted, out: Path, val_share: float | None = None) -> CocoData:
    """Write a converted data set as COCO files.

    Args:
        out: folder to write to.
        val_share: of the images for validation, where they are not split.

    Raises:
        UsageError: nothing to train on, no validation and no `val_share`.
    """
    source = converted.source
    contents, folders = dict(converted.contents), dict(converted.folders)
    said = [f"{source.format} labels of {source.place}", *converted.said]
    unsplit = contents.pop(None, None)
    if unsplit is not None and "train" not in contents:
        contents["train"], folders["train"] = unsplit, folders[None]
    elif unsplit is not None:
        number = len(unsplit["images"])
        said.append(f"left out: {number} images of {folders[None]}, which is of no split by name")
    if "train" not in contents:
        names = ", ".join(str(split) for split in contents)
        raise UsageError(f"{source.place} has images for {names}, but none for training")
    if "val" not in contents and "test" in contents:
        contents["val"], folders["val"] = contents.pop("test"), folders.pop("test")
        said.append(f"validation: {folders['val']}, as there is no other split")
    _settle_validation(converted, contents, folders, val_share, said)
    parts: dict[str, Part] = {}
    for split in ("train", "val", "test"):
        if split in contents:
            parts[split], line = write_part(contents[split], split, folders[split], out)
            said.append(line)
    said += _told(converted.findings, out)
    masks = any(bool(a["segmentation"]) for a in contents["train"]["annotations"])
    number = len(contents["train"]["images"])
    splits = (parts["train"], parts["val"], parts.get("test"))
    return CocoData(*splits, converted.classes, masks, number, said)


def _settle_validation(
    converted: Converted,
    contents: dict,
    folders: dict,
    share: float | None,
    said: list[str],
) -> None:
    """Images to validate on: those of the data, or a share of those for training."""
    place = converted.source.place
    train = _paths(contents["train"], folders["train"])
    # In small samples of YOLO data one folder is both.
    same = "val" in contents and train == _paths(contents["val"], folders["val"])
    if share is None and "val" not in contents:
        raise no_validation(place, f"{len(train)} images for training")
    if share is not None and "val" in contents and not same:
        raise both_validations(place, folders["val"])
    if share is not None:
        contents["train"], contents["val"] = divided(contents["train"], share, str(place))
        # What was found stands in one of the two.
        contents["val"]["info"] = {**contents["val"]["info"], "findings": []}
        folders["val"] = folders["train"]
    elif same:
        said.append(
            "validation has the images of training: its score says nothing of others. "
            "--val-share 0.2 holds a fifth out"
        )


def _paths(content: dict, folder: Path) -> set[Path]:
    return {folder / image["file_name"] for image in content["images"]}


def _told(findings: list[Finding], out: Path) -> list[str]:
    """What is wrong with label files, a line each; all of it is written to a file."""
    if not findings:
        return []
    kinds = Counter(finding.kind for finding in findings)
    file = out / "findings.txt"
    file.write_text("".join(f"{finding.kind}: {finding}\n" for finding in findings))
    lines = []
    for kind in sorted(kinds, key=lambda kind: ORDER.index(KINDS[kind].severity)):
        known = KINDS[kind]
        lines.append(f"{known.severity}: {known.title} × {kinds[kind]} ({known.advice})")
        # A note's examples say little.
        shown = 1 if known.severity == "note" else SHOWN
        those = [finding for finding in findings if finding.kind == kind]
        lines += [f"    {finding}" for finding in those[:shown]]
        if len(those) > shown:
            lines.append(f"    … and {len(those) - shown} more in {file}")
    return lines
