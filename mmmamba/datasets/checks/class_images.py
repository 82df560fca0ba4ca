"""What can be wrong with images that have a class each."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from ..layout import is_image
from .channels import AS_COLOURS, Reading
from .class_labels import Labelled, check_class_use
from .images import in_threads, read_image_facts
from .regular import irregular
from .report import Report
from .splits import Split

TINY = 16
LONG = 4
CHUNK = 1 << 20


def check_classes(cfg: Config, split: Split, decode: bool = True) -> tuple[Report, Labelled]:
    """Check one split of a config, all images of which are read.

    Args:
        decode: read images whole; otherwise their headers only.
    """
    report, labelled = check_class_use(cfg, split)
    if labelled and not split.dataset.ann_file:
        check_unread(Path(split.dataset.img_prefix), split.dataset.extensions, report)
    check_labelled(labelled, report, decode, split.reading)
    return report, labelled


def check_labelled(
    labelled: Labelled, report: Report, decode: bool = True, reading: Reading = AS_COLOURS
) -> None:
    """Check images that have a class each, of those that the report counts."""
    names = list(report.classes)

    def read(entry: tuple[str, int]):
        return read_image_facts(entry[0], decode)

    for (path, _), facts in in_threads(read, labelled, f"{report.name}: images"):
        if facts.error and not Path(path).exists():
            report.add("image-missing", file=path)
        elif facts.error:
            empty = Path(path).is_file() and not Path(path).stat().st_size
            report.add("image-unreadable", "0 bytes" if empty else facts.error, file=path)
        else:
            sides = sorted((facts.width, facts.height))
            size = f"{facts.width} x {facts.height}"
            if sides[0] < TINY:
                report.add("image-tiny", size, file=path)
            if sides[1] > LONG * sides[0]:
                report.add("image-long", size, file=path)
            for kind, detail in reading.notes(replace(facts, turned=False)):
                report.add(kind, detail, file=path)
    _check_copies(labelled, names, report)


def _check_copies(labelled: Labelled, names: Sequence[str], report: Report) -> None:
    """One image under several names, in one class or in several."""
    label_of = dict(labelled)
    for copies in same_content(label_of):
        labels = sorted({label_of[path] for path in copies})
        others = ", ".join(copies[1:4]) + (" …" if len(copies) > 4 else "")
        if len(labels) > 1:
            classes = ", ".join(names[one] for one in labels if 0 <= one < len(names))
            report.add("image-classes", f"also {others}: {classes}", file=copies[0])
        else:
            report.add("image-again", f"also {others}", file=copies[0])


def check_shared(train: Iterable[Path], other: Iterable[Path], report: Report) -> None:
    """Images of a split that training has too, by what is in their files."""
    known, own = set(map(str, train)), set(map(str, other))
    for path in sorted(known & own):
        report.add("image-both", file=path)
    for copies in same_content(sorted(known | own)):
        trained = [path for path in copies if path in known]
        for path in copies:
            if trained and path in own - known:
                report.add("image-both", f"in training as {trained[0]}", file=path)


def same_content(paths: Iterable[str]) -> list[list[str]]:
    """Paths of files that hold the same bytes, in groups of two or more."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        if not irregular(path) and Path(path).is_file():
            by_size[Path(path).stat().st_size].append(path)
    # Only files of one size can be equal: of most, nothing is read.
    alike = [path for group in by_size.values() if len(group) > 1 for path in group]
    by_digest: dict[str, list[str]] = defaultdict(list)
    for path, digest in in_threads(_digest, alike, "comparing images"):
        by_digest[digest].append(path)
    # Empty files are no images, which is told of each.
    nothing = hashlib.sha256().hexdigest()
    return [group for key, group in by_digest.items() if len(group) > 1 and key != nothing]


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_unread(folder: Path, endings: Iterable[str], report: Report) -> None:
    """Images that a folder holds and its data set never reads."""
    known = tuple(endings)
    for path in sorted(folder.rglob("*")):
        if not is_image(path):
            continue
        if path.parent == folder:
            report.add("image-classless", file=str(path))
        elif not path.name.lower().endswith(known):
            report.add("image-ending", file=str(path))
