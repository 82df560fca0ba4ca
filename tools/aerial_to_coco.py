"""Labels of VisDrone-DET and DOTA-v1.0 as COCO files, which the configs in configs/tiled read.

python tools/aerial_to_coco.py visdrone data/VisDrone2019-DET-train train.json
python tools/aerial_to_coco.py dota data/dota/train train.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mmmamba.commands.guard import guarded
from mmmamba.commands.parser import Parser
from mmmamba.datasets.checks.images import read_image_facts
from mmmamba.datasets.layout import images_below
from mmmamba.errors import UsageError

VISDRONE = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
)
"""Their categories 1 to 10."""
REGION, OTHERS = 0, 11
"""VisDrone's numbers of regions that nobody labelled, and of what is in none of the classes."""
DOTA = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
)
LABELS = {"visdrone": "annotations", "dota": "labelTxt"}
"""Folders of text files beside `images`."""


class Found(NamedTuple):
    """A box as left, top, right, bottom; it is to be ignored, or an object of a class."""

    box: tuple[float, float, float, float]
    label: int
    ignored: bool


def main(argv: list[str] | None = None) -> int:
    return guarded(partial(_convert, sys.argv[1:] if argv is None else argv))


def _convert(argv: list[str]) -> int:
    parser = Parser(description="Write the labels of aerial images as a COCO file.")
    parser.add_argument("kind", choices=[*LABELS], help="whose labels they are")
    parser.add_argument(
        "folder",
        type=Path,
        help="with images/, and annotations/ (VisDrone) or labelTxt/ (DOTA, upright boxes around "
        "its turned ones)",
    )
    parser.add_argument("out", type=Path, help="file to write")
    args = parser.parse_args(argv)
    classes = VISDRONE if args.kind == "visdrone" else DOTA
    read = _visdrone if args.kind == "visdrone" else _dota
    images, annotations, outside = [], [], 0
    for number, path in enumerate(images_below(args.folder / "images"), start=1):
        facts = read_image_facts(path, decode=False)
        if facts.error:
            raise UsageError(f"{path} cannot be read: {facts.error}")
        width, height = facts.seen_size
        images.append(dict(id=number, file_name=path.name, width=width, height=height))
        for found in read(args.folder / LABELS[args.kind] / f"{path.stem}.txt"):
            x1, y1 = max(found.box[0], 0), max(found.box[1], 0)
            wide, high = min(found.box[2], width) - x1, min(found.box[3], height) - y1
            if wide < 1 or high < 1:
                outside += 1
                continue
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=found.label + 1,
                    bbox=[x1, y1, wide, high],
                    area=wide * high,
                    iscrowd=int(found.ignored),
                )
            )
    if not images:
        raise UsageError(f"{args.folder / 'images'} holds no images")
    categories = [dict(id=index, name=name) for index, name in enumerate(classes, start=1)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    content = dict(images=images, annotations=annotations, categories=categories)
    args.out.write_text(json.dumps(content))
    ignored = sum(annotation["iscrowd"] for annotation in annotations)
    print(
        f"{args.out}: {len(images)} images, {len(annotations) - ignored} objects, {ignored} to be "
        f"ignored (iscrowd); left out: {outside} of less than a pixel within their image"
    )
    return 0


def _visdrone(file: Path) -> Iterator[Found]:
    """left, top, width, height, score, category, truncation, occlusion; a score of 0 is ignored."""
    for place, line in _lines(file):
        try:
            numbers = [float(word) for word in line.strip().rstrip(",").split(",")]
            x, y, width, height, score, category = numbers[:6]
        except ValueError as error:
            said = f"{place}: wanted eight numbers with commas, found {line!r}"
            raise UsageError(said) from error
        box = (x, y, x + width, y + height)
        if category == REGION:
            # Whatever is found there: a crowd of each class, as COCO's crowds are of one.
            for label in range(len(VISDRONE)):
                yield Found(box, label, True)
        elif 1 <= category <= len(VISDRONE):
            yield Found(box, int(category) - 1, score == 0)
        elif category != OTHERS:
            raise UsageError(f"{place}: category {category:g}, wanted {REGION} … {OTHERS}")


def _dota(file: Path) -> Iterator[Found]:
    """Four corners, class, 1 where it is difficult; after two lines about the image."""
    for place, line in _lines(file):
        if line.startswith(("imagesource", "gsd")):
            continue
        words = line.split()
        if len(words) != 10 or words[8] not in DOTA:
            raise UsageError(
                f"{place}: wanted eight numbers, one of DOTA-v1.0's classes and 0 or 1, found "
                f"{line!r}"
            )
        corners = [float(word) for word in words[:8]]
        xs, ys = corners[::2], corners[1::2]
        yield Found((min(xs), min(ys), max(xs), max(ys)), DOTA.index(words[8]), words[9] != "0")


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    if not file.is_file():
        raise UsageError(f"there are no labels {file}; an image without objects has an empty file")
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line


if __name__ == "__main__":
    sys.exit(main())
