"""Whether a data set and a config go together: what would make training fail or score 0.

No image is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...printable import printable
from .class_labels import check_class_use
from .coco import check_categories, chosen_categories, has_size, read_coco
from .image_ids import check_image_ids, is_id
from .instances import box_faults
from .partners import check_partner_use
from .report import Report
from .saliency import check_saliency_use, folder_of
from .splits import Split, same_file

LOOKED_AT = 20
"""Images whose existence is tested."""
WITHOUT_CLASSES = ("backbone", "rpn_head", "data_preprocessor")
BORDER_HEADS = ("STDCHead",)
"""Types of heads whose two classes are borders and the rest, whatever the data's are."""


def check_usable(cfg: Config, split: Split) -> Report:
    """Check one split of a config. A COCO file is read once."""
    if split.is_coco:
        report = Report(split.name, split.dataset.ann_file)
        check_heads(cfg, split, report)
        content = read_coco(split.dataset.ann_file, report)
        if content is None:
            return report
        check_categories(content["categories"], split.classes, report)
        # With other classes nothing below would fit either.
        if report.has("classes-none", "classes-text", "classes-missing"):
            return report
        # Lists and dicts, which are no ids, cannot be counted.
        ids = [annotation.get("id") for annotation in content["annotations"]]
        for number, times in Counter(filter(is_id, ids)).items():
            if times > 1:
                report.add("annotation-id-twice", annotation=number)
        check_image_ids(content, report)
        check_coco_use(content, split, report)
        return report
    if split.is_classification:
        return check_class_use(cfg, split)[0]
    if split.is_saliency:
        report = Report(split.name, folder_of(split))
        check_saliency_use(split, split.dataset.triples(), report)
        return report
    report = Report(split.name, split.dataset.data_prefix.get("seg_map_path") or "", unit="pixels")
    check_heads(cfg, split, report)
    entries = segmentation_entries(split)
    check_segmentation_use(split, labelled_pairs(entries), report)
    check_partner_use(entries, split.reading, report)
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
    """Every `num_classes` below a model's heads, with its place in the config.

    A region proposal network has none.
    """
    if isinstance(node, dict) and node.get("type") not in BORDER_HEADS:
        for key, value in node.items():
            if key == "num_classes" and isinstance(value, int):
                yield f"{place}.{key}", value
            # These may have a `num_classes` that does not count the data set's classes.
            elif key not in WITHOUT_CLASSES:
                yield from head_classes(value, f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from head_classes(value, f"{place}.{index}")


def check_coco_use(content: dict, split: Split, report: Report) -> None:
    """Whether anything is left to train on and to score, and whether the evaluator looks at it too.

    Annotations, masks and images are counted as this config sees them.
    """
    chosen = chosen_categories(content["categories"], split.classes)
    images = {}
    for image in content["images"]:
        if is_id(image.get("id")) and has_size(image):
            images[image["id"]] = image
    found = _objects(content["annotations"], chosen, images)
    # Results that are only written out belong to tests whose labels are not published.
    if not any(evaluator.get("format_only") for evaluator in split.evaluators):
        _check_objects(found, len(content["annotations"]), split.masks, report)
    with_objects = found.images
    # The images that mmdet keeps by its `filter_cfg`.
    left = [
        number
        for number, image in images.items()
        if (number in with_objects or not split.leaves_out_empty)
        and min(image["width"], image["height"]) >= split.min_size
    ]
    if not left:
        rule = dict(split.dataset.filter_cfg or {})
        report.add("no-images", f"of {len(images)} in the file, with {rule}")
    _check_places([image["file_name"] for image in images.values()], split.image_root, report)
    _check_evaluators(split, set(images), report)


@dataclass
class Objects:
    """Annotations of a config's classes."""

    number: int = 0
    """Without crowd regions and ignored ones."""
    masks: int = 0
    images: set = field(default_factory=set)
    """Ids of images with any of them, crowd regions too."""
    boxed: bool = False
    """One of them has a box within its image."""
    first_without: dict | None = None
    """The first one, where none before it has such a box."""


def _objects(annotations: list[dict], chosen: Mapping, images: Mapping[Any, dict]) -> Objects:
    found = Objects()
    for annotation in annotations:
        category, image = annotation.get("category_id"), annotation.get("image_id")
        if not (is_id(category) and is_id(image) and category in chosen and image in images):
            continue
        # As mmdet's `filter_empty_gt`, which asks whether the image has any annotation of a class.
        found.images.add(image)
        if annotation.get("iscrowd") or annotation.get("ignore"):
            continue
        found.number += 1
        found.masks += bool(annotation.get("segmentation"))
        # The first good box is enough.
        if not found.boxed:
            found.boxed = _has_box(annotation, images[image])
            found.first_without = found.first_without or annotation
    return found


def _check_objects(found: Objects, annotations: int, masks: bool, report: Report) -> None:
    if not found.number:
        report.add("no-annotations", f"of {annotations} annotations in the file")
    elif not found.boxed:
        first = found.first_without
        text = f"of {found.number}; the first is {printable(first.get('bbox'))}"
        report.add("no-boxes", text, image=first["image_id"], annotation=first.get("id"))
    elif masks and not found.masks:
        report.add("no-masks", f"{found.number} annotations without segmentation")


def _has_box(annotation: dict, image: dict) -> bool:
    kinds = {kind for kind, _ in box_faults(annotation, image["width"], image["height"])}
    return not kinds & {"box-broken", "box-empty", "box-outside"}


def _check_places(names: list[str], root: str, report: Report) -> None:
    """Whether any of the first images lies where the config looks for them."""
    # Images in remote storage cannot be looked for by path.
    if not names or "://" in root:
        return
    if not any((Path(root) / name).exists() for name in names[:LOOKED_AT]):
        report.add("images-elsewhere", f"no {names[0]} in {root or 'the current folder'}")


def _check_evaluators(split: Split, images: set, report: Report) -> None:
    for evaluator in split.evaluators:
        file = evaluator.get("ann_file")
        if not isinstance(file, str) or "://" in file or same_file(file, split.dataset.ann_file):
            continue
        content = read_coco(file, report)
        if content is None:
            continue
        # `loadRes` of COCO refuses results of an image that its file does not have.
        unknown = images - {image["id"] for image in content["images"] if is_id(image.get("id"))}
        if unknown:
            report.add(
                "evaluator-file",
                f"{file} lacks {len(unknown)} of the {len(images)} images of "
                f"{split.dataset.ann_file}",
            )


def segmentation_entries(split: Split) -> list[dict]:
    """What mmseg lists of a split: paths of images and label maps.

    There are none where its folder or list of names is not there.
    """
    folder, names = split.dataset.data_prefix.get("img_path"), split.dataset.ann_file
    if not Path(folder or "").is_dir() or (names and not Path(names).exists()):
        return []
    return split.dataset.load_data_list()


def labelled_pairs(entries: Sequence[dict]) -> list[tuple[str, str]]:
    """Paths of images and label maps."""
    return [(entry["img_path"], entry.get("seg_map_path", "")) for entry in entries]


def check_segmentation_use(split: Split, pairs: list[tuple[str, str]], report: Report) -> None:
    """There are images, and a label map for each."""
    if not pairs:
        folder = Path(split.dataset.data_prefix.get("img_path") or ".")
        # What does lie there tells a wrong folder from a wrong `img_suffix`.
        suffixes = Counter(p.suffix for p in folder.rglob("*") if p.is_file())
        most = [f"{n} {suffix or 'without suffix'}" for suffix, n in suffixes.most_common(3)]
        found = ", ".join(most) or "nothing"
        suffix = split.dataset.img_suffix
        report.add("no-images", f"{folder} holds {found}, img_suffix is {suffix!r}")
    for image, label in pairs:
        if not Path(label).is_file():
            report.add("label-missing", f"for {image}", file=label)
