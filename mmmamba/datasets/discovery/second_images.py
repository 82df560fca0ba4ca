"""Finds the second images of pairs beside images and label maps, and measures them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ..checks.images import read_image_facts
from ..layout import Part, is_image
from ..transforms import LoadPairedImage
from ..transforms.load_paired_image import COLOUR_CHANNELS
from .label_maps import LabelData, image_names

MEASURED = 100
"""Pairs that means and deviations are taken of."""
SHOWN = 3


@dataclass(frozen=True)
class SecondImages:
    """Where second images lie, and how they are read.

    Attributes:
        folders: by split: train, val, test.
        suffix: what follows a name that both files of a pair share.
        channels, color_type: as `LoadPairedImage` takes them.
        mean, std: of each channel, in the units in which it is read.
        said: what was chosen, a line each.
    """

    folders: dict[str, Path]
    suffix: str
    channels: int
    color_type: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    said: list[str]


def find_second_images(
    root: Path, data: LabelData, given: str | Path, channels: int | None = None
) -> SecondImages:
    """The second images of a data set of label maps.

    Args:
        given: their folder, or its name beside that of the images.
        channels: as which the network takes them; None: as many as they have.

    Raises:
        UsageError: there is no such folder, images have no partner, or pairs cannot be read.
    """
    splits = {"train": data.train, "val": data.val}
    if data.test is not None:
        splits["test"] = data.test
    folders, suffixes = {}, {}
    for split, part in splits.items():
        names = image_names(part, data.image_suffix)
        folders[split], suffixes[split] = _folder(root, part, names[0], data.image_suffix, given)
        _check(folders[split], names, suffixes[split], split)
    if len(set(suffixes.values())) > 1:
        raise UsageError(
            f"second images have several endings, {suffixes}; a data set reads one: convert the "
            "others"
        )
    suffix = suffixes["train"]
    names = image_names(data.train, data.image_suffix)
    chosen = names[:: max(len(names) // MEASURED, 1)][:MEASURED]
    pairs = [
        (data.train.images / f"{name}{data.image_suffix}", folders["train"] / f"{name}{suffix}")
        for name in chosen
    ]
    color_type, found = _kind(pairs[0][1])
    if channels is not None and color_type != "color":
        found = channels
    mean, std = _measured(pairs, LoadPairedImage(found, color_type))
    bits = "the file's own values" if color_type == "unchanged" else "8 bits"
    said = (
        f"second images: {folders['train']}, read as {found} channels ({color_type}, {bits}), mean "
        f"{mean[0]:g}, deviation {std[0]:g} of {len(pairs)} of them"
    )
    return SecondImages(folders, suffix, found, color_type, mean, std, [said])


def _folder(
    root: Path, part: Part, name: str, image_suffix: str, given: str | Path
) -> tuple[Path, str]:
    """The folder of a split's second images, and their suffix."""
    looked: list[Path] = []
    for folder in dict.fromkeys(_candidates(root, part, Path(given))):
        if folder.resolve() == part.images.resolve():
            continue
        looked.append(folder)
        suffix = _suffix(folder, name, image_suffix)
        if suffix is not None:
            return folder, suffix
    places = ", ".join(map(str, looked)) or "no other folder"
    raise UsageError(
        f"--second-modality {given}: no second image of {part.images / name}{image_suffix}. Looked "
        f"for a file whose name begins with {Path(name).name} in {places}"
    )


def _candidates(root: Path, part: Part, given: Path) -> Iterator[Path]:
    """Folders that may be to `given` what the images' is to the one of all images."""
    steps = part.images.relative_to(root).parts if part.images.is_relative_to(root) else ()
    bases = [given.resolve()] if given.is_dir() else []
    if (root / given).is_dir():
        bases.append(root / given)
    for base in bases:
        # images/train is to images as thermal/train is to thermal.
        for place in range(len(steps)):
            yield base.joinpath(*steps[:place], *steps[place + 1 :])
        yield base
    if not given.is_absolute():
        for place in range(len(steps)):
            yield root.joinpath(*steps[:place], given, *steps[place + 1 :])


def _suffix(folder: Path, name: str, image_suffix: str) -> str | None:
    """What the second image of a name has after it; None if there is none."""
    if (folder / f"{name}{image_suffix}").is_file():
        return image_suffix
    stem = Path(name).name
    found = [
        path.name.removeprefix(stem)
        for path in sorted((folder / name).parent.glob("*"))
        if path.name.startswith(stem) and is_image(path)
    ]
    # With a.png and ab.png there, the shorter one is the image's own.
    return min(found, key=len) if found else None


def _check(folder: Path, names: list[str], suffix: str, split: str) -> None:
    missing = [name for name in names if not (folder / f"{name}{suffix}").is_file()]
    if missing:
        first = ", ".join(f"{name}{suffix}" for name in missing[:SHOWN])
        raise UsageError(
            f"{len(missing)} of {len(names)} images of {split} have no second one in {folder}: "
            f"{first}{' …' if len(missing) > SHOWN else ''}"
        )


def _kind(file: Path) -> tuple[str, int]:
    """How second images are read, by one of them."""
    facts = read_image_facts(file)
    if facts.error:
        raise UsageError(f"{file}: {facts.error}")
    if facts.deep:
        return "unchanged", facts.channels
    # Grey is often stored as three channels that are the same.
    if facts.channels >= COLOUR_CHANNELS:
        image = LoadPairedImage(COLOUR_CHANNELS, "color").transform(
            dict(img_path=str(file), second_path=str(file))
        )["img"]
        if (image[..., :1] != image[..., :COLOUR_CHANNELS]).any():
            return "color", COLOUR_CHANNELS
    return "grayscale", 1


def _measured(
    pairs: list[tuple[Path, Path]], load: LoadPairedImage
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of the second images, to three digits."""
    count, total, squares = 0, np.zeros(load.second_channels), np.zeros(load.second_channels)
    for image, second in pairs:
        try:
            read = load.transform(dict(img_path=str(image), second_path=str(second)))["img"]
        # mmcv's loader asserts that OpenCV could decode the files.
        except (OSError, ValueError, AssertionError) as error:
            raise UsageError(f"{image} and {second} cannot be read as a pair: {error}") from error
        values = read[..., COLOUR_CHANNELS:].reshape(-1, load.second_channels).astype(float)
        count, total = count + len(values), total + values.sum(0)
        squares += (values**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    if (std == 0).any():
        raise UsageError(f"the second images are of one value alone, {mean[0]:g}: nothing to learn")
    return _rounded(mean), _rounded(std)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)
