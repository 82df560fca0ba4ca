"""One annotation file made into two, for training and for validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..checks.regular import irregular
from ..layout import Part, split_names

MARK = b'{"info": {"written_by": "mmmamba new"'


def divided(content: dict[str, Any], share: float, what: str) -> tuple[dict, dict]:
    """The content of a COCO file in two parts, the second with `share` of the images.

    Args:
        what: it is of, for errors.

    Raises:
        UsageError: too few images.
    """
    # By name and not by entry: a file that is listed twice cannot be in both parts.
    names = split_names({image["file_name"] for image in content["images"]}, share)
    if not all(names):
        raise UsageError(
            f"{what} has {len(content['images'])} images, too few to divide by --val-share {share}"
        )
    parts = []
    for chosen in map(set, names):
        images = [image for image in content["images"] if image["file_name"] in chosen]
        ids = {image["id"] for image in images}
        annotations = [a for a in content["annotations"] if a.get("image_id") in ids]
        parts.append({**content, "images": images, "annotations": annotations})
    return parts[0], parts[1]


def is_ours(file: Path) -> bool:
    """Whether a file was written here: the config may lie in the folder of the data."""
    if irregular(file):
        return False
    with file.open("rb") as stream:
        return MARK in stream.read(len(MARK))


def write_part(content: dict[str, Any], split: str, images: Path, out: Path) -> tuple[Part, str]:
    """Write the annotation file of a split into a folder.

    Returns:
        The split, and a line of what was written.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{split}.json"
    info = content.get("info")
    # First in the file, where `is_ours` looks.
    marked = {"written_by": "mmmamba new"} | (info if isinstance(info, dict) else {})
    file.write_text(json.dumps({"info": marked} | {**content, "info": marked}))
    numbers = f"{len(content['images'])} images, {len(content['annotations'])} annotations"
    return Part(images, file), f"{split}: {numbers}, written to {file}"


def no_validation(root: Path, what: str) -> UsageError:
    """What to say where nothing is there to validate on."""
    return UsageError(
        f"{root} has {what}, and none for validation. --val-share 0.2 holds a fifth of the images "
        "out"
    )


def both_validations(root: Path, val: object) -> UsageError:
    """What to say to a share where the data has a validation split of its own."""
    return UsageError(f"{root} has a validation split, {val}: leave --val-share away")
