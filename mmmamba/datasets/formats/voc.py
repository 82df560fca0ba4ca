"""Pascal VOC's XML files, one an image, and the lists of its splits."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from ...errors import UsageError
from ..checks.images import ImageFacts
from ..checks.regular import irregular
from ..checks.report import Finding
from ..layout import DEPTH, split_of, walk
from .files import ImageFinder, class_file, class_names, text_lines
from .source import Entry, Labels, Source, Split, Thing, parse_fault

EDGES = ("xmin", "ymin", "xmax", "ymax")
LISTS = {"train": "train", "val": "val", "trainval": "train", "test": "test"}
"""Files of ImageSets/Main that are of no single class, and the split that each is."""
UNREADABLE = (OSError, ElementTree.ParseError, ValueError, RecursionError)


def find_voc(root: Path) -> Source | None:
    """The XML files below a folder as a data set, or None if there are none of VOC's.

    Raises:
        UsageError: several sets of lists, or lists that name no annotation.
    """
    files = []
    for folder in walk(root):
        files += sorted(folder.glob("*.xml"))
    if not any(map(_is_voc, files)):
        return None
    finder = ImageFinder(root)
    findings = []
    entries = {}
    for file in files:
        # Its own name first: to read the file for the name that it gives is seldom needed.
        image = finder.find(file) or finder.find(file, _named_image(file))
        if image is None:
            found = f"no image {file.stem}.jpg or .png beside it or in a folder of images"
            findings.append(Finding("label-imageless", str(file), found))
        else:
            entries[file] = Entry(image, file)
    said: list[str] = []
    splits = _splits(root, entries, findings, said)
    used = {entry.image for entry in entries.values()}
    for image in finder.unlabelled(used):
        found = "no .xml of this name: it is left out"
        findings.append(Finding("image-unlabelled", str(image), found))
    classes = class_file(root, *dict.fromkeys(file.parent for file in files))
    if classes:
        said.append(f"classes: {classes}")
    names = class_names(classes) if classes else None
    return Source("Pascal VOC", root, splits, read_voc, names, _count_from_0, said, findings)


def _splits(
    root: Path, entries: dict[Path, Entry], findings: list[Finding], said: list[str]
) -> dict[Split, list[Entry]]:
    """By the lists in ImageSets/Main, or by the names of files and folders."""
    # One folder deeper than the annotations lie: VOCdevkit/VOC2012/ImageSets/Main.
    folders = walk(root, DEPTH + 1)
    lists = [folder for folder in folders if folder.parts[-2:] == ("ImageSets", "Main")]
    if len(lists) > 1:
        names = ", ".join(str(folder.parent.parent) for folder in lists)
        raise UsageError(f"{root} has {len(lists)} VOC data sets: name one, --data {names}")
    found = {name: lists[0] / f"{name}.txt" for name in LISTS} if lists else {}
    found = {name: file for name, file in found.items() if file.is_file()}
    splits: dict[Split, list[Entry]] = {}
    if not found:
        for file, entry in entries.items():
            splits.setdefault(split_of(file.relative_to(root)), []).append(entry)
        return splits
    # VOC 2007 is trained on train and val together where test is there to validate.
    if "trainval" in found and "train" in found:
        del found["trainval"]
    by_name = {file.stem: file for file in entries}
    listed = set()
    for name, file in found.items():
        chosen = []
        for line in text_lines(file):
            # A second word would say whether a class is there; suffixes and folders are left off.
            stem = Path(line.split()[0]).name
            stem = stem if stem in by_name else Path(stem).stem
            if stem in by_name:
                chosen.append(entries[by_name[stem]])
                listed.add(stem)
            else:
                found_line = f"{line!r} is listed, without annotation or image"
                findings.append(Finding("label-unlisted", str(file), found_line))
        splits[LISTS[name]] = list(dict.fromkeys(chosen))
        said.append(f"{LISTS[name]}: {file}")
    left = len(by_name) - len(listed)
    if left:
        said.append(f"left out: {left} annotated images that no list of {lists[0]} names")
    return splits


def _is_voc(file: Path) -> bool:
    if irregular(file):
        return False
    with file.open("rb") as stream:
        return b"<annotation" in stream.read(4096)


def _named_image(file: Path) -> str:
    """The name of the image that a file gives; empty where it gives none or cannot be read."""
    if irregular(file):
        return ""
    try:
        return (ElementTree.fromstring(file.read_bytes()).findtext("filename") or "").strip()
    except UNREADABLE:
        return ""


def read_voc(file: Path, facts: ImageFacts) -> Labels:
    """The objects of an XML file; difficult ones are neither learnt nor scored, as in VOC."""
    labels = Labels()
    if found := irregular(file):
        labels.refuse("label-unparsed", found)
        return labels
    try:
        tree = ElementTree.fromstring(file.read_bytes())
    except UNREADABLE as error:
        labels.refuse("label-unparsed", parse_fault(error))
        return labels
    if tree.tag != "annotation":
        labels.refuse("label-unparsed", f"it holds <{tree.tag}>, wanted <annotation>")
        return labels
    _check_size(tree, facts, labels)
    # Those of the people layout have parts below them, which are no objects.
    for number, node in enumerate(tree.findall("object"), start=1):
        name = (node.findtext("name") or "").strip()
        place = f"object {number}" + (f" ({name})" if name else "")
        texts = [node.findtext(f"bndbox/{edge}") for edge in EDGES]
        box = _box(texts)
        if not name or box is None:
            told = f"{place} has name {name!r} and box {dict(zip(EDGES, texts))}"
            labels.refuse("label-unparsed", told)
            continue
        difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true")
        labels.things.append(Thing(name, box, crowd=difficult, place=place))
    return labels


def _box(texts: list[str | None]) -> tuple[float, float, float, float] | None:
    try:
        left, upper, right, lower = (float(text or "") for text in texts)
    except ValueError:
        return None
    return (left, upper, right, lower) if math.isfinite(left + upper + right + lower) else None


def _check_size(tree: ElementTree.Element, facts: ImageFacts, labels: Labels) -> None:
    """The image's size against that in the file, which many tools leave at 0."""
    try:
        size = [int(float(tree.findtext(f"size/{key}") or 0)) for key in ("width", "height")]
    except (ValueError, OverflowError):
        size = [0, 0]
    if 0 in size or tuple(size) == facts.seen_size:
        return
    found = f"the file says {size[0]} x {size[1]}, the image is {facts.width} x {facts.height}"
    turned = facts.turned and tuple(size) == (facts.width, facts.height)
    labels.refuse("image-turned" if turned else "image-size", found)


def _count_from_0(things: list[Thing]) -> list[str]:
    """VOC counts pixels from 1 and its boxes hold their last one; other tools count from 0."""
    said = []
    if any(min(thing.box[:2]) < 1 for thing in things):
        said.append("boxes are counted from 0, as some begin there")
    elif things:
        said.append("boxes are counted from 1, and their last pixel is within, as in VOC")
        for thing in things:
            left, upper, right, lower = thing.box
            thing.box = (left - 1, upper - 1, right, lower)
    difficult = sum(thing.crowd for thing in things)
    if difficult:
        said.append(f"{difficult} difficult objects are neither learnt nor scored, as in VOC")
    return said
