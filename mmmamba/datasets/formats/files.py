"""Which image belongs to which label file, and the names of classes in a file of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..layout import IMAGE_SUFFIXES

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


def is_image(path: Path) -> bool:
    """By its name; hidden ones are what macOS leaves beside files."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in those below it, in order."""
    return sorted(path for path in folder.rglob("*") if is_image(path))


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
    """The names in a file, a line each; in CVAT's `labelmap.txt` colours follow after a colon."""
    return tuple(_names(file))


def _names(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip().split(":")[0]
