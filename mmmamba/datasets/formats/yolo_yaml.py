"""The `data.yaml` of YOLO data sets: classes, and where the images of each split lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ...errors import UsageError
from ..checks.regular import irregular
from ..checks.report import Finding
from ..layout import SPLIT_NAMES, images_below, is_image, walk
from .files import IMAGE_FOLDERS, text_lines
from .source import Source, Split, parse_fault
from .yolo import yolo_source

SUFFIXES = (".yaml", ".yml")


def find_yaml(root: Path) -> Path | None:
    """The file in a folder, or in one within it, that describes a YOLO data set.

    Raises:
        UsageError: there are several.
    """
    found = []
    # An export that is unpacked often lies in a folder of its own.
    files = (path for folder in walk(root, 1) for path in sorted(folder.iterdir()))
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            continue
        try:
            content = read_yaml(file)
        except UsageError:
            # A file of this name is meant to be one: that it cannot be read is said when it is.
            if file.stem == "data":
                found.append(file)
            continue
        if isinstance(content, dict) and "names" in content and _keys(content):
            found.append(file)
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(root)) for file in found)
        raise UsageError(
            f"{root} has {len(found)} files of YOLO data, {names}: name one, --data FILE"
        )
    return found[0] if found else None


def read_yaml(file: Path) -> Any:
    """The content of a YAML file.

    Raises:
        UsageError: it cannot be read or is no YAML.
    """
    if found := irregular(file):
        raise UsageError(f"{file}: {found}")
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file} is no YAML: {parse_fault(error)}") from error


def yolo_yaml_source(file: Path) -> Source:
    """The data set that a `data.yaml` describes.

    Raises:
        UsageError: it names no classes or no images to train on, or none are there.
    """
    content = read_yaml(file)
    if not isinstance(content, dict) or not _keys(content):
        raise UsageError(
            f"{file} is no description of YOLO data: wanted names (of the classes), train and val "
            "(folders of images, or lists of them)"
        )
    names = _class_names(file, content)
    key_points = _key_points(file, content)
    paths = Paths(file, str(content.get("path") or "").replace("\\", "/"))
    images: dict[Split, list[Path]] = {}
    for key, split in _keys(content).items():
        found = paths.images(key, content[key]) if content[key] else []
        if found:
            images.setdefault(split, []).extend(found)
    if not images.get("train"):
        raise UsageError(f"{file} names no images under train")
    source = yolo_source(file, images, names, key_points)
    source.said += paths.said
    source.findings += paths.findings
    if key_points:
        source.said.append("key points are left out: boxes alone are taken")
    return source


def _keys(content: dict) -> dict[str, str]:
    """Keys of the file that name images, and the split that each is."""
    found = {}
    for split, names in SPLIT_NAMES.items():
        for name in names:
            if name in content:
                found[name] = split
    return found


def _class_names(file: Path, content: dict) -> dict[int, str]:
    """Names by number, in order."""
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        number = f" (nc: {content['nc']} alone does not name them)" if "nc" in content else ""
        raise UsageError(f"{file} names no classes{number}: write names: [cat, dog]")
    found = {}
    for key, name in names.items():
        if not str(key).isdecimal():
            raise UsageError(f"{file} has the class number {key!r} under names, wanted 0, 1, …")
        # YAML takes a bare yes, no, on and off for true and false.
        if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
            found_name = name if isinstance(name, (bool, float)) else type(name).__name__
            raise UsageError(
                f"{file} names class {key} {found_name}, wanted a text: put it in quotes"
            )
        found[int(key)] = str(name)
    twice = sorted({name for name in found.values() if list(found.values()).count(name) > 1})
    if twice:
        raise UsageError(f"{file} has two classes named {', '.join(twice)}: give each its own name")
    if isinstance(content.get("nc"), int) and content["nc"] != len(found):
        raise UsageError(f"{file} says nc: {content['nc']} and names {len(found)} classes")
    return dict(sorted(found.items()))


def _key_points(file: Path, content: dict) -> int:
    """Numbers that follow each box in data for poses."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UsageError(f"{file} has kpt_shape, but not two numbers such as [17, 3]")
    points, each = [*shape, 1][:2]
    return points * each


@dataclass
class Paths:
    """Finds what a `data.yaml` names, which was often written for another folder or machine.

    Attributes:
        file: the `data.yaml`.
        path: what it says under `path`.
        said: a line for each place that was taken instead of the one that it names.
        findings: images that are listed and not there.
    """

    file: Path
    path: str
    said: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def images(self, key: str, entry: Any) -> list[Path]:
        """The images of a split, from a folder, a list of images in a text file, or several."""
        entries = entry if isinstance(entry, list) else [entry]
        found: list[Path] = []
        for one in entries:
            if not isinstance(one, str):
                kind = type(one).__name__
                raise UsageError(f"{self.file} has a {kind} under {key}, wanted a folder or a file")
            place = self._place(key, one.replace("\\", "/"))
            if place is None:
                continue
            if place.is_dir():
                images = images_below(place)
                if not images:
                    raise UsageError(f"{place}, which {self.file} names under {key}, has no images")
            elif is_image(place):
                images = [place]
            else:
                images = self._listed(place)
            found += images
        kept = list(dict.fromkeys(found))
        if len(kept) < len(found):
            self.said.append(f"{key}: {len(found) - len(kept)} images are named twice")
        return kept

    def _place(self, key: str, entry: str) -> Path | None:
        """Where an entry leads: as it says, or by its last folders below the file's own."""
        wanted = Path(self.path) / entry
        home = self.file.parent
        for place in (home / wanted, Path(wanted), home / entry):
            if os.path.exists(place):
                return Path(os.path.normpath(place))
        # `../train/images` beside the file, `/content/set/train/images` of another machine.
        parts = [part for part in wanted.parts if part not in ("..", ".", wanted.anchor)]
        for first in range(len(parts)):
            rest = parts[first:]
            # `images` alone could be that of any split.
            if first and len(rest) == 1 and rest[0] in IMAGE_FOLDERS:
                break
            place = home.joinpath(*rest)
            if os.path.exists(place):
                self.said.append(f"{key}: {wanted} is not there, {place} is taken")
                return place
        if key not in SPLIT_NAMES["test"]:
            raise UsageError(
                f"{self.file} names {wanted} under {key}, which is not there: looked for it in "
                f"{home} and {Path.cwd()}. Mend the line; wanted a folder of images or a list of "
                "them"
            )
        self.said.append(f"{key}: {wanted} is not there, so there is no test split")
        return None

    def _listed(self, file: Path) -> list[Path]:
        """The images that a text file lists, a line each."""
        lines = text_lines(file)
        found = []
        for line in lines:
            path = Path(line.replace("\\", "/"))
            image = self._listed_image(path, file.parent)
            if image is None:
                self.findings.append(Finding("label-unlisted", str(file), f"{line} is not there"))
            else:
                found.append(image)
        if not found:
            raise UsageError(f"{file} lists {len(lines)} lines, and none is an image that is there")
        return found

    def _listed_image(self, path: Path, home: Path) -> Path | None:
        roots = (home, self.file.parent, self.file.parent / self.path)
        for place in (*(root / path for root in roots), path):
            if os.path.isfile(place):
                return Path(os.path.normpath(Path.cwd() / place))
        parts = [part for part in path.parts if part not in ("..", ".", path.anchor)]
        for first in range(1, len(parts) - 1):
            place = self.file.parent.joinpath(*parts[first:])
            if os.path.isfile(place):
                return place
        return None
