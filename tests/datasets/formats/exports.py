"""COCO data sets written in the formats that other tools export: what the tests convert back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import yaml

SHARED = next(
    (path for folder in Path(__file__).parents if (path := folder / "shared/data").is_dir()), Path()
)
BLOOD = SHARED / "bccd"
COCO_MINI = SHARED / "coco_mini"


def load(root: Path, split: str) -> dict:
    return json.loads((root / f"annotations/instances_{split}.json").read_text())


def each_image(content: dict) -> list[tuple[dict, list[dict]]]:
    """Images with their annotations."""
    of_image = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    return [(image, of_image[image["id"]]) for image in content["images"]]


def link_images(root: Path, split: str, content: dict, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        link = target / image["file_name"]
        if not link.exists():
            link.symlink_to(root / split / image["file_name"])


def names_of(content: dict) -> dict[int, str]:
    return {category["id"]: category["name"] for category in content["categories"]}


def yolo_lines(image: dict, annotations: list[dict], numbers: dict[int, int]) -> str:
    """Boxes, or polygons where there are some."""
    width, height = image["width"], image["height"]
    lines = []
    for annotation in annotations:
        x, y, w, h = annotation["bbox"]
        shares = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        # An RLE has no polygon to write.
        if isinstance(annotation.get("segmentation"), list) and annotation["segmentation"]:
            points = annotation["segmentation"][0]
            shares = [v / (height if i % 2 else width) for i, v in enumerate(points)]
        numbers_ = " ".join(f"{share:.6f}" for share in shares)
        lines.append(f"{numbers[annotation['category_id']]} {numbers_}\n")
    return "".join(lines)


def to_yolo(
    contents: dict[str, dict],
    source: Path,
    target: Path,
    layout: Callable[[str], tuple[str, str]] = lambda split: (f"images/{split}", f"labels/{split}"),
    described: dict | None = None,
) -> Path:
    """Write YOLO labels.

    Args:
        layout: folders of images and of labels by split.
        described: what `data.yaml` says beside the names; None writes none.
    """
    for split, content in contents.items():
        images, labels = layout(split)
        link_images(source, split, content, target / images)
        (target / labels).mkdir(parents=True, exist_ok=True)
        numbers = {category: number for number, category in enumerate(names_of(content))}
        for image, objects in each_image(content):
            file = target / labels / f"{Path(image['file_name']).stem}.txt"
            file.write_text(yolo_lines(image, objects, numbers))
    if described is not None:
        names = list(names_of(content).values())
        (target / "data.yaml").write_text(yaml.safe_dump(dict(names=names) | described))
    return target


def yolo(contents: dict[str, dict], source: Path, target: Path) -> Path:
    """Write YOLO labels of training and validation, with a `data.yaml`."""
    return to_yolo(contents, source, target, described=dict(train="images/train", val="images/val"))


def voc_text(image: dict, annotations: list[dict], names: dict[int, str]) -> bytes:
    """An XML file that counts pixels from 1."""
    tree = ElementTree.Element("annotation")

    def put(parent: ElementTree.Element, **texts: object) -> None:
        for tag, text in texts.items():
            ElementTree.SubElement(parent, tag).text = str(text)

    put(tree, folder="JPEGImages", filename=image["file_name"])
    put(ElementTree.SubElement(tree, "size"), width=image["width"], height=image["height"], depth=3)
    for annotation in annotations:
        node = ElementTree.SubElement(tree, "object")
        put(node, name=names[annotation["category_id"]], pose="Unspecified", truncated=0)
        put(node, difficult=annotation.get("iscrowd", 0))
        x, y, w, h = (round(value) for value in annotation["bbox"])
        box = dict(xmin=x + 1, ymin=y + 1, xmax=x + w, ymax=y + h)
        put(ElementTree.SubElement(node, "bndbox"), **box)
    return ElementTree.tostring(tree)


def to_voc(contents: dict[str, dict], source: Path, target: Path) -> Path:
    """Write the layout of VOC's own sets."""
    for folder in ("Annotations", "ImageSets/Main"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        link_images(source, split, content, target / "JPEGImages")
        stems = []
        for image, objects in each_image(content):
            stems.append(Path(image["file_name"]).stem)
            text = voc_text(image, objects, names_of(content))
            (target / f"Annotations/{stems[-1]}.xml").write_bytes(text)
        (target / f"ImageSets/Main/{split}.txt").write_text("\n".join(stems) + "\n")
    return target


def labelme_shapes(annotations: list[dict], names: dict[int, str]) -> list[dict]:
    shapes = []
    for group, annotation in enumerate(annotations):
        x, y, w, h = annotation["bbox"]
        parts = [("rectangle", [[x, y], [x + w, y + h]])]
        if annotation.get("segmentation"):
            parts = []
            for polygon in annotation["segmentation"]:
                points = [list(point) for point in zip(polygon[::2], polygon[1::2])]
                parts.append(("polygon", points))
        for kind, points in parts:
            shape = dict(label=names[annotation["category_id"]], points=points, shape_type=kind)
            shapes.append(shape | dict(group_id=group if len(parts) > 1 else None, flags={}))
    return shapes


def to_labelme(contents: dict[str, dict], source: Path, target: Path) -> Path:
    """Write a JSON file beside each image, in a folder for each split."""
    for split, content in contents.items():
        link_images(source, split, content, target / split)
        for image, objects in each_image(content):
            file = target / split / f"{Path(image['file_name']).stem}.json"
            shapes = labelme_shapes(objects, names_of(content))
            size = dict(imageHeight=image["height"], imageWidth=image["width"], imageData=None)
            name = dict(version="5.5.0", flags={}, shapes=shapes, imagePath=image["file_name"])
            file.write_text(json.dumps(name | size))
    return target
