"""Whether a data set and a config go together: what would make training fail or score 0. Reads no images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...printable import printable
from .coco import check_categories, chosen_categories, has_size, read_coco
from .image_ids import check_image_ids, is_id
from .instances import box_faults
from .report import Report
from .splits import Split, same_file

LOOKED_AT = 20
"""Images whose existence is tested."""
WITHOUT_CLASSES = ("backbone", "rpn_head", "data_preprocessor")


def check_usable(cfg: Config, split: Split) -> Report:
    """Check one split of a config. A COCO file is read once."""
    if split.is_coco:
        report = Report(split.name, split.dataset.ann_file)
        check_heads(cfg, split, report)
        content = read_coco(split.dataset.ann_file, report)
        if content is not None:
            check_categories(content["categories"], split.classes, report)
        # With other classes nothing below would fit either.
        if content is not None and not report.has(
            "classes-none", "classes-text", "classes-missing"
        ):
            ids = (annotation.get("id") for annotation in content["annotations"])
            for number, times in Counter(filter(is_id, ids)).items():
                if times > 1:
                    report.add("annotation-id-twice", annotation=number)
            check_image_ids(content, report)
            check_coco_use(content, split, report)
        return report
    report = Report(split.name, split.dataset.data_prefix.get("seg_map_path") or "", unit="pixels")
    check_heads(cfg, split, report)
    check_segmentation_use(split, segmentation_pairs(split), report)
    return report


def check_heads(cfg: Config, split: Split, report: Report) -> None:
    """`num_classes` of every head against the classes."""
    classes = split.classes
    if isinstance(classes, str):
        report.add("classes-text", f"classes is {classes!r}")
    elif not classes:
        report.add("classes-none")
    else:
        for place, number in head_classes(cfg.get("model"), "model"):
            if number != len(classes):
                report.add(
                    "num-classes",
                    f"{place} is {number}, the data set has {len(classes)} classes",
                    file=str(cfg.filename),
                )


def head_classes(node: Any, place: str) -> Iterator[tuple[str, int]]:
    """Every `num_classes` below a model's heads, with its place in the config. A region proposal network has none."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "num_classes" and isinstance(value, int):
                yield f"{place}.{key}", value
            elif key not in WITHOUT_CLASSES:
                yield from head_classes(value, f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from head_classes(value, f"{place}.{index}")


def check_coco_use(content: dict, split: Split, report: Report) -> None:
    """Annotations, masks and images that are left for this config, and whether its evaluator looks at the same ones."""
    chosen = chosen_categories(content["categories"], split.classes)
    images = {
        image["id"]: image
        for image in content["images"]
        if is_id(image.get("id")) and has_size(image)
    }
    with_objects, objects, masks, boxed, outside = set(), 0, 0, False, None
    for annotation in content["annotations"]:
        category, image = annotation.get("category_id"), annotation.get("image_id")
        if not (is_id(category) and is_id(image) and category in chosen and image in images):
            continue
        with_objects.add(image)
        if not annotation.get("iscrowd") and not annotation.get("ignore"):
            objects += 1
            masks += bool(annotation.get("segmentation"))
            # The first good one is enough.
            if not boxed:
                boxed = _has_box(annotation, images[image])
                outside = outside or annotation
    unscored = any(evaluator.get("format_only") for evaluator in split.evaluators)
    if not objects and not unscored:
        report.add("no-annotations", f"of {len(content['annotations'])} annotations in the file")
    elif not boxed and not unscored:
        found = f"of {objects}; the first is {printable(outside.get('bbox'))}"
        report.add("no-boxes", found, image=outside["image_id"], annotation=outside.get("id"))
    elif split.masks and not masks and not unscored:
        report.add("no-masks", f"{objects} annotations without segmentation")
    left = [
        number
        for number, image in images.items()
        if (number in with_objects or not split.leaves_out_empty)
        and min(image["width"], image["height"]) >= split.min_size
    ]
    if not left:
        report.add(
            "no-images",
            f"of {len(images)} in the file, with {dict(split.dataset.filter_cfg or {})}",
        )
    names = [image["file_name"] for image in islice(images.values(), LOOKED_AT)]
    if (
        names
        and not any((Path(split.image_root) / name).exists() for name in names)
        and "://" not in split.image_root
    ):
        report.add(
            "images-elsewhere", f"no {names[0]} in {split.image_root or 'the current folder'}"
        )
    _check_evaluators(split, set(images), report)


def _has_box(annotation: dict, image: dict) -> bool:
    kinds = {kind for kind, _ in box_faults(annotation, image["width"], image["height"])}
    return not kinds & {"box-broken", "box-empty", "box-outside"}


def _check_evaluators(split: Split, images: set, report: Report) -> None:
    for evaluator in split.evaluators:
        file = evaluator.get("ann_file")
        if not isinstance(file, str) or "://" in file or same_file(file, split.dataset.ann_file):
            continue
        content = read_coco(file, report)
        if content is None:
            continue
        unknown = images - {image["id"] for image in content["images"] if is_id(image.get("id"))}
        if unknown:
            report.add(
                "evaluator-file",
                f"{file} lacks {len(unknown)} of the {len(images)} images of "
                f"{split.dataset.ann_file}",
            )


def segmentation_pairs(split: Split) -> list[tuple[str, str]]:
    """Paths of images and label maps, as mmseg pairs them; none where its folder or list of names is not there."""
    folder, names = split.dataset.data_prefix.get("img_path"), split.dataset.ann_file
    if not Path(folder or "").is_dir() or (names and not Path(names).exists()):
        return []
    return [
        (entry["img_path"], entry.get("seg_map_path", ""))
        for entry in split.dataset.load_data_list()
    ]


def check_segmentation_use(split: Split, pairs: list[tuple[str, str]], report: Report) -> None:
    """There are images, and a label map for each."""
    if not pairs:
        folder = Path(split.dataset.data_prefix.get("img_path") or ".")
        suffixes = Counter(p.suffix for p in folder.rglob("*") if p.is_file())
        found = (
            ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in suffixes.most_common(3))
            or "nothing"
        )
        report.add(
            "no-images", f"{folder} holds {found}, img_suffix is {split.dataset.img_suffix!r}"
        )
    for image, label in pairs:
        if not Path(label).is_file():
            report.add("label-missing", f"for {image}", file=label)
