"""Whether a classifier's data set and its config go together. No image is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..layout import is_image
from .report import ClassCount, Report
from .splits import Split

Labelled = list[tuple[str, int]]
"""Paths of images and their labels."""
LOOKED_AT = 20
"""Images of a list whose existence is tested."""
NAMED = 6


def check_class_use(cfg: Config, split: Split) -> tuple[Report, Labelled]:
    """Check classes, labels and heads of one split of a config.

    Returns:
        What was found, and the images with their labels; none where they cannot be told.
    """
    dataset = split.dataset
    report = Report(split.name, dataset.ann_file or dataset.img_prefix, unit="images")
    labelled = _load(split, report)
    # Known now also where the config leaves them to the folders.
    classes = split.classes
    if isinstance(classes, str):
        report.add("classes-text", f"classes is {classes!r}")
        return report, []
    _check_heads(cfg, classes, report)
    if not labelled or not classes:
        return report, []
    report.images = len(labelled)
    for path, label in labelled:
        if not 0 <= label < len(classes):
            wanted = f"{label}, wanted 0 … {len(classes) - 1}"
            report.add("class-label", wanted, file=path)
    enter_classes(report, classes, (label for _, label in labelled))
    if not any(Path(path).exists() for path, _ in labelled[:LOOKED_AT]):
        report.add("images-elsewhere", f"no {labelled[0][0]}")
    return report, labelled


def enter_classes(report: Report, classes: Sequence[str], labels: Iterable[int]) -> None:
    """Count the images of each class of a split, and tell those that have none."""
    found = Counter(labels)
    report.classes = {name: ClassCount() for name in classes}
    for label, name in enumerate(classes):
        report.classes[name] = ClassCount(found[label], found[label])
        if not found[label]:
            # What is not divided is trained on.
            kind = "class-unscored" if report.name in ("val", "test") else "class-unlearnt"
            report.add(kind, repr(name))


def _load(split: Split, report: Report) -> Labelled:
    """Images and labels as mmpretrain reads them; none where it would fail, which is told."""
    dataset = split.dataset
    folder = Path(dataset.img_prefix or ".")
    if dataset.ann_file:
        return _load_list(Path(dataset.ann_file), dataset, report)
    if not folder.is_dir():
        report.add("no-images", f"there is no folder {folder}")
        return []
    names = sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
    if not names:
        loose = sum(map(is_image, folder.iterdir()))
        report.add("class-folders", f"{folder} holds {loose} images and no folder")
        return []
    given = split.classes
    # ImageNet's have other names than its folders.
    own = type(dataset).METAINFO.get("classes") == given
    named = given is not None and not isinstance(given, str)
    if named and not _same_folders(given, names, own, report):
        return []
    try:
        return [(entry["img_path"], entry["gt_label"]) for entry in dataset.load_data_list()]
    # What mmpretrain raises where none of its endings is there.
    except RuntimeError as error:
        report.add("no-images", str(error))
        return []


def _same_folders(given: Sequence[str], names: list[str], own: bool, report: Report) -> bool:
    """Whether folders and classes of a config can go together by their order."""
    if len(given) != len(names):
        more = [name for name in names if name not in given]
        less = [name for name in given if name not in names]
        text = f"{len(names)} folders, {len(given)} classes"
        text += f"; only folders: {_some(more)}" if more else ""
        report.add("class-folders-other", text + (f"; only classes: {_some(less)}" if less else ""))
        return False
    if not own and sorted(given) == names and list(given) != names:
        report.add("class-folders-other", f"by the folders: {_some(names)}; named {_some(given)}")
        return False
    return True


def _load_list(file: Path, dataset: Any, report: Report) -> Labelled:
    if not file.is_file():
        report.add("class-list", "there is no such file")
        return []
    try:
        return [(entry["img_path"], entry["gt_label"]) for entry in dataset.load_data_list()]
    except ValueError:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if not _parses(line):
                report.add("class-list", f"line {number}: {line!r}")
        return []


def _parses(line: str) -> bool:
    path, _, label = line.strip().rpartition(" ")
    return bool(path) and label.lstrip("-").isdigit()


def _check_heads(cfg: Config, classes: Sequence[str] | None, report: Report) -> None:
    """`num_classes` of what ends the network, and of what mixes labels, against the classes."""
    if not classes:
        if not report.counts:
            report.add("classes-none")
        return
    found = dict(_numbers(cfg.get("model"), "model"))
    found |= dict(_numbers(cfg.get("data_preprocessor"), "data_preprocessor"))
    for place, number in found.items():
        if number != len(classes):
            text = f"{place} is {number}, the data set has {len(classes)} classes"
            report.add("num-classes", text, file=str(cfg.filename))


def _numbers(node: Any, place: str) -> Iterator[tuple[str, int]]:
    """Every `num_classes` below a model that counts its logits, with its place in the config."""
    if isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _numbers(value, f"{place}.{index}")
    if not isinstance(node, Mapping):
        return
    # Of a backbone that gives maps it says nothing.
    counts = place.rpartition(".")[2] != "backbone" or node.get("classifier", False)
    for key, value in node.items():
        if key == "num_classes" and isinstance(value, int) and counts:
            yield f"{place}.{key}", value
        elif key != "num_classes":
            yield from _numbers(value, f"{place}.{key}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
