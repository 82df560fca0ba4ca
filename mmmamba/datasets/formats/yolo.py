"""YOLO's text files: a line an object, of class and box or class and polygon, in shares of 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import UsageError
from ..checks.images import ImageFacts
from ..checks.regular import irregular
from ..checks.report import Finding
from ..layout import is_image, split_of, walk
from .files import CLASS_FILES, IMAGE_FOLDERS, class_file, class_names
from .source import Entry, Labels, Source, Split, Thing, box_of, parse_fault

LABEL_FOLDERS = ("labels", "label", "Labels")
SLACK = 0.01
"""By which a coordinate may lie outside of 0 … 1: they are rounded."""
NO_LABELS = {"train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt", "README.txt"}
"""Text files that lie where labels may lie, beside those of class names."""
BOX, POLYGON = 5, 7
"""Numbers in the line of a box, and in that of a triangle."""


class YoloReader:
    """Reads label files.

    Args:
        names: of the classes by the number that the files have for them.
        key_points: numbers that follow each box, which are left out.
    """

    def __init__(self, names: Mapping[int, str], key_points: int = 0) -> None:
        self.names = names
        self.key_points = key_points

    def __call__(self, file: Path, facts: ImageFacts) -> Labels:
        labels = Labels()
        if found := irregular(file):
            labels.refuse("label-unparsed", found)
            return labels
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            labels.refuse("label-unparsed", parse_fault(error))
            return labels
        seen: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words:
                continue
            # Tools that append write some lines twice: one object would be two.
            first = seen.setdefault(" ".join(words), number)
            if first != number:
                labels.tell("object-twice", f"line {number} is line {first}")
                continue
            self._line(words, f"line {number}", facts, labels)
        return labels

    def _line(self, words: list[str], place: str, facts: ImageFacts, labels: Labels) -> None:
        try:
            values = [float(word) for word in words]
        except ValueError:
            labels.refuse("label-unparsed", f"{place} is no row of numbers: {_short(words)}")
            return
        if not all(map(math.isfinite, values)):
            labels.refuse("label-unparsed", f"{place} holds a number that is not finite")
            return
        if self.key_points and len(values) == BOX + self.key_points:
            values = values[:BOX]
        if len(values) != BOX and (len(values) < POLYGON or len(values) % 2 == 0):
            wanted = "5 (class and box) or 7, 9, … (class and polygon)"
            if self.key_points:
                wanted = f"5 or {BOX + self.key_points} (class, box and key points)"
            found = f"{place} has {len(values)} numbers, wanted {wanted}: {_short(words)}"
            labels.refuse("label-unparsed", found)
            return
        number, *shares = values
        if number not in self.names:
            found = f"{place} has class {number:g}, the classes are {_numbers(self.names)}"
            labels.refuse("label-class", found)
            return
        outside = [share for share in shares if not -SLACK <= share <= 1 + SLACK]
        if outside:
            guess = " (pixels?)" if max(map(abs, outside)) > 2 else ""
            found = f"{place} has {outside[0]:g}, wanted shares of the image, 0 … 1{guess}"
            labels.refuse("label-outside", found)
            return
        width, height = facts.seen_size
        # x and y alternate.
        pixels = [share * (height if i % 2 else width) for i, share in enumerate(shares)]
        name = self.names[int(number)]
        if len(values) == BOX:
            x, y, w, h = pixels
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            labels.things.append(Thing(name, box, place=place))
        else:
            labels.things.append(Thing(name, box_of(pixels), [pixels], place=place))


def _short(words: list[str]) -> str:
    text = " ".join(words)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _numbers(names: Mapping[int, str]) -> str:
    return f"{min(names)} … {max(names)}" if len(names) > 1 else f"{min(names)} alone"


class Pairing:
    """The label file of each image: in `labels` where its folder has `images`, or beside it."""

    def __init__(self) -> None:
        self.names: dict[Path, set[str]] = {}
        self.used: set[Path] = set()

    def entry(self, image: Path) -> Entry:
        """An image with its label file."""
        for folder in label_folders(image.parent):
            if folder not in self.names:
                files = folder.glob("*.txt") if folder.is_dir() else ()
                self.names[folder] = {file.name for file in files}
            name = f"{image.stem}.txt"
            if name in self.names[folder]:
                self.used.add(folder / name)
                return Entry(image, folder / name)
        return Entry(image, None)

    def orphans(self) -> Iterator[Finding]:
        """Label files that no image has asked for, where others have found theirs."""
        for folder in sorted({file.parent for file in self.used}):
            for name in sorted(self.names[folder] - NO_LABELS - set(CLASS_FILES)):
                if folder / name not in self.used:
                    yield Finding("label-orphan", str(folder / name))


def label_folders(folder: Path) -> list[Path]:
    """Where the labels of the images in a folder may lie, the likeliest first."""
    found = []
    for place in reversed(range(len(folder.parts))):
        if folder.parts[place] in IMAGE_FOLDERS:
            before, after = folder.parts[:place], folder.parts[place + 1 :]
            found += [Path(*before, name, *after) for name in LABEL_FOLDERS]
    return [*found, folder, *(folder / name for name in LABEL_FOLDERS)]


def yolo_source(
    place: Path,
    images: Mapping[Split, list[Path]],
    names: Mapping[int, str],
    key_points: int = 0,
) -> Source:
    """A data set of images, whose labels are looked for where they usually lie.

    Raises:
        UsageError: not one image has a label file.
    """
    pairing = Pairing()
    splits = {split: list(map(pairing.entry, found)) for split, found in images.items()}
    if not pairing.used:
        first = next((image for found in images.values() for image in found), None)
        looked = ", ".join(str(path) for path in label_folders(first.parent)) if first else place
        raise UsageError(
            f"no image of {place} has a label file: wanted {first.stem if first else 'NAME'}.txt "
            f"and others in one of {looked}"
        )
    findings = list(pairing.orphans())
    for entries in splits.values():
        for entry in entries:
            if entry.labels is None:
                found = "no label file: it counts as an image without objects"
                findings.append(Finding("image-unlabelled", str(entry.image), found))
    reader = YoloReader(names, key_points)
    return Source("YOLO", place, splits, reader, tuple(names.values()), findings=findings)


def find_bare_yolo(root: Path) -> Source | None:
    """YOLO labels of a folder without a `data.yaml`; None where no image has a label file.

    Raises:
        UsageError: nothing names the classes.
    """
    images: dict[Split, list[Path]] = {}
    some = None
    for folder in walk(root):
        found = sorted(path for path in folder.iterdir() if is_image(path))
        labels = _a_label_file(found)
        if labels is not None:
            some = some or labels
            images.setdefault(split_of(folder.relative_to(root)), []).extend(found)
    if some is None:
        return None
    file = class_file(root, some.parent, *(folder for folder in walk(root, 1)))
    if file is None:
        raise UsageError(
            f"{root} has YOLO labels ({some} and others), but nothing that names "
            f"their classes. Write classes.txt into it, a name a line in the order of the numbers, "
            "or name its data.yaml: --data FILE"
        )
    source = yolo_source(root, images, dict(enumerate(class_names(file))))
    source.said.append(f"classes: {file}")
    return source


def _a_label_file(images: list[Path]) -> Path | None:
    """The first label file that is there, of the images of one folder."""
    if not images:
        return None
    for folder in label_folders(images[0].parent):
        if not folder.is_dir():
            continue
        for image in images:
            file = folder / f"{image.stem}.txt"
            # Captions lie beside images in files of the same names.
            if file.is_file() and _begins_with_a_number(file):
                return file
    return None


def _begins_with_a_number(file: Path) -> bool:
    with file.open("rb") as stream:
        words = stream.read(100).split()
    return bool(words) and words[0].replace(b".", b"").isdigit()
