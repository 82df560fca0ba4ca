"""Which image belongs to which label file, and the names of classes in a file of their own."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

from ...errors import UsageError
from ..checks.regular import irregular
from ..layout import is_image

IMAGE_FOLDERS = ("images", "JPEGImages", "image", "imgs", "img", "Images")
CLASS_FILES = (
    "classes.txt",
    "labels.txt",
    "names.txt",
    "labelmap.txt",
    "predefined_classes.txt",
    "obj.names",
    "classes.names",
)


class ImageFinder:
    """Finds the image of a label file by its name, beside it or in the folder that mirrors it.

    annotations/train/a.xml is of images/train/a.jpg, of train/a.jpg or of
    annotations/train/a.jpg.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = cache(self._folders)
        self.stems = cache(self._stems)

    def find(self, labels: Path, name: str = "") -> Path | None:
        """The image of a label file.

        Args:
            name: that the file gives, which is asked after the file's own: it is often that of
                another machine, or was not changed with the file's.
        """
        given = Path(name.replace("\\", "/")).name
        for folder in self.folders(labels.parent):
            found = self.stems(folder).get(labels.stem)
            if found:
                return found
        for folder in self.folders(labels.parent):
            if given and os.path.isfile(folder / given):
                return folder / given
        return None

    def unlabelled(self, used: set[Path]) -> list[Path]:
        """Images that lie beside those that have labels."""
        found = []
        for folder in sorted({image.parent for image in used}):
            found += [image for image in self.stems(folder).values() if image not in used]
        return found

    def _folders(self, folder: Path) -> list[Path]:
        """Folders in which the images of labels in a folder may lie, the nearest first."""
        found = [folder, *(folder / name for name in IMAGE_FOLDERS)]
        below = folder.relative_to(self.root).parts if folder.is_relative_to(self.root) else ()
        for place in reversed(range(len(below))):
            before, after = self.root.joinpath(*below[:place]), below[place + 1 :]
            found += [before.joinpath(name, *after) for name in IMAGE_FOLDERS]
            found.append(before.joinpath(*after))
        return [path for path in dict.fromkeys(found) if path.is_dir()]

    def _stems(self, folder: Path) -> dict[str, Path]:
        return {path.stem: path for path in sorted(folder.iterdir()) if is_image(path)}


def class_file(*folders: Path) -> Path | None:
    """A file of class names in one of some folders."""
    for folder in folders:
        for name in CLASS_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def class_names(file: Path) -> tuple[str, ...]:
    """The names in a file, a line each; in CVAT's `labelmap.txt` colours follow after a colon.

    Raises:
        UsageError: it is no text, or names no class, or one twice.
    """
    names = [line.split(":")[0] for line in text_lines(file) if not line.startswith("#")]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UsageError(f"{file} names {', '.join(twice)} twice: give each class its own name")
    if not names:
        raise UsageError(f"{file} names no class: wanted a name a line")
    return tuple(names)


def text_lines(file: Path) -> list[str]:
    """Lines of a text that are not empty, without blanks around them.

    Raises:
        UsageError: it is no text.
    """
    if found := irregular(file):
        raise UsageError(f"{file}: {found}")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text in UTF-8: {error}") from error
    return [line.strip() for line in lines if line.strip()]
