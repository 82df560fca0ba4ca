"""A set in YOLO, VOC and labelme files is, once converted, the set that it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pycocotools import mask as coco_mask

from mmmamba.datasets.discovery import find_objects

from .exports import BLOOD, COCO_MINI, each_image, load, names_of, to_labelme, to_voc, yolo

SPLITS = ("train", "val")
pytestmark = pytest.mark.skipif(not BLOOD.is_dir(), reason=f"no data at {BLOOD}")


def objects(content: dict) -> dict[str, tuple]:
    """Size and objects of each image by its name; ids and the order of objects say nothing."""
    names, found = names_of(content), {}
    for image, listed in each_image(content):
        rows = []
        for annotation in listed:
            polygons = annotation["segmentation"] or []
            rows.append((names[annotation["category_id"]], *annotation["bbox"], polygons))
        size = image["width"], image["height"]
        found[image["file_name"]] = size, sorted(rows, key=lambda row: [round(v) for v in row[1:5]])
    return found


def rows_alike(wanted: list, found: list, within: float) -> bool:
    return len(wanted) == len(found) and all(
        one[0] == other[0] and other[1:5] == pytest.approx(one[1:5], abs=within)
        for one, other in zip(wanted, found)
    )


@pytest.mark.parametrize("write", [yolo, to_voc, to_labelme])
def test_boxes(tmp_path: Path, write: Callable) -> None:
    contents = {split: load(BLOOD, split) for split in SPLITS}
    data = find_objects(write(contents, BLOOD, tmp_path / "data"), tmp_path / "out")
    assert sorted(data.classes) == ["Platelets", "RBC", "WBC"] and not data.masks
    for split, part in zip(SPLITS, (data.train, data.val)):
        found = json.loads(part.annotations.read_text())
        wanted, seen = objects(contents[split]), objects(found)
        assert seen.keys() == wanted.keys()
        for name, (size, rows) in wanted.items():
            # Six digits of a share are less than a thousandth of a pixel.
            assert seen[name][0] == size and rows_alike(rows, seen[name][1], 0.002), name
            assert (part.images / name).is_file()
        assert [image["id"] for image in found["images"]] == [*range(1, len(wanted) + 1)]
        areas = sum(annotation["area"] for annotation in contents[split]["annotations"])
        assert sum(a["area"] for a in found["annotations"]) == pytest.approx(areas, rel=1e-4)


def with_polygons(split: str, most_parts: int) -> dict:
    """Some images of COCO's, with the objects that a format can hold."""
    content = load(COCO_MINI, split)
    images = content["images"][:30]
    ids = {image["id"] for image in images}
    kept = [
        a
        for a in content["annotations"]
        if a["image_id"] in ids and not a["iscrowd"] and len(a["segmentation"]) <= most_parts
    ]
    # Objects under a pixel are left out.
    kept = [a for a in kept if min(a["bbox"][2:]) >= 1]
    return {**content, "images": images, "annotations": kept}


@pytest.mark.parametrize(("write", "most_parts"), [(yolo, 1), (to_labelme, 99)])
def test_polygons(tmp_path: Path, write: Callable, most_parts: int) -> None:
    contents = {split: with_polygons(split, most_parts) for split in SPLITS}
    data = find_objects(write(contents, COCO_MINI, tmp_path / "data"), tmp_path / "out")
    used = {a["category_id"] for content in contents.values() for a in content["annotations"]}
    names = names_of(contents["train"])
    # YOLO's file names all 80; labelme has the names of what is there.
    assert set(data.classes) >= {names[number] for number in used} and data.masks
    for split, part in zip(SPLITS, (data.train, data.val)):
        wanted, seen = objects(contents[split]), objects(json.loads(part.annotations.read_text()))
        assert seen.keys() == wanted.keys()
        for name, (size, rows) in wanted.items():
            # COCO's own boxes have two digits, and some begin a pixel beside their polygons.
            assert seen[name][0] == size and rows_alike(rows, seen[name][1], 1.01), name
            for one, other in zip(rows, seen[name][1]):
                assert overlap(one[5], other[5], size) > 0.999


def overlap(one: list, other: list, size: tuple[int, int]) -> float:
    """Intersection over union of polygons."""
    rles = [coco_mask.merge(coco_mask.frPyObjects(each, size[1], size[0])) for each in (one, other)]
    return float(coco_mask.iou([rles[0]], [rles[1]], [0])[0, 0])


def test_a_second_conversion_writes_the_same_files(tmp_path: Path) -> None:
    data = yolo({split: load(BLOOD, split) for split in SPLITS}, BLOOD, tmp_path / "data")
    for out in ("one", "two"):
        find_objects(data, tmp_path / out)
    for split in SPLITS:
        one, two = (tmp_path / out / f"{split}.json" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
