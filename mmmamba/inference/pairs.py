"""Pairs of images: which second image belongs to which first one."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from ..errors import UsageError
from .sources import IMAGES, Source, is_url

SHOWN = 3
"""Images without a partner that an error names."""


@dataclass(frozen=True)
class PairNames:
    """What follows the name that the two files of a pair share, as `_rgb.png`; "" if unknown."""

    first: str = ""
    second: str = ""

    def partner_of(self, file: Path, folder: Path) -> Path | None:
        """The second image of `file`, by its name below `folder`, in another folder.

        Raises:
            UsageError: several could be meant.
        """
        if self.first and file.name.endswith(self.first):
            named = folder / f"{file.name.removesuffix(self.first)}{self.second}"
            if named.is_file():
                return named
        same = folder / file.name
        if same.is_file():
            return same
        alike = [path for path in folder.glob(f"{glob.escape(file.stem)}.*") if _is_image(path)]
        if len(alike) > 1:
            raise UsageError(
                f"the second image of {file} may be any of {', '.join(map(str, sorted(alike)))}: "
                "leave one of them there"
            )
        return alike[0] if alike else None


def with_partners(
    sources: Sequence[Source],
    inputs: Sequence[str | Path | int],
    second: str | Path,
    names: PairNames | None = None,
) -> list[Source]:
    """The sources, each with its second image.

    Args:
        inputs: what the sources were found by; below their folders images are called as their
            partners are below that of the second ones.
        second: a folder; for one source a file or an address.
        names: how the two files of a pair are called, where that is known.

    Raises:
        UsageError: there is no such folder or file, images have no partner, or an input is no
            image file.
    """
    videos = [source.name for source in sources if source.video]
    if videos:
        raise UsageError(f"{videos[0]} is no image: a model that takes pairs takes images alone")
    if is_url(str(second)) or Path(second).is_file():
        if len(sources) > 1:
            raise UsageError(
                f"--second {second} is one image, and there are {len(sources)} first ones: name "
                "the folder of the second ones"
            )
        return [replace(source, second=str(second)) for source in sources]
    if not Path(second).is_dir():
        raise UsageError(
            f"--second {second}: there is no such folder or file, seen from {Path.cwd()}"
        )
    folders = [_folder(str(given)) for given in inputs]
    paired, missing = [], []
    for source in sources:
        partner = _partner(source, folders, Path(second), names or PairNames())
        if partner is None:
            missing.append(source.place)
        paired.append(replace(source, second=partner and str(partner)))
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"{len(missing)} of {len(sources)} images have no second one in {second}: "
            f"{', '.join(missing[:SHOWN])}{more}. Wanted a file of the same name, with any ending "
            "of an image, in the same folders below it"
        )
    return paired


def _partner(
    source: Source, folders: Sequence[Path], second: Path, names: PairNames
) -> Path | None:
    place = Path(source.place)
    for folder in folders:
        # A name below the folder that was given: the same folders lie below the other.
        if place.is_relative_to(folder):
            inner = place.parent.relative_to(folder)
            if found := names.partner_of(place, second / inner):
                return found
    return None


def _folder(given: str) -> Path:
    """The folder that an input names images below: itself, that of a file, that before a `*`."""
    path = Path(os.path.abspath(Path(given).expanduser()))
    if path.is_dir():
        return path
    return Path(*takewhile(lambda part: not glob.has_magic(part), path.parent.parts))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and path.is_file()
