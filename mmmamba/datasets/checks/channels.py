"""What a config's loader makes of an image file: its channels, its bits, its alpha channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

from ...config.signatures import class_name, constructors, targets
from .images import ImageFacts

LOADERS = ("LoadImageFromFile", "LoadPairedImage")

READS = {
    "color": 3,
    "color_ignore_orientation": 3,
    "grayscale": 1,
    "grayscale_ignore_orientation": 1,
}
"""Channels that mmcv's `color_type` makes of any file; "unchanged" leaves the file's."""


@dataclass(frozen=True)
class Reading:
    """How files are read, and for how many channels."""

    color_type: str | None = "color"
    """None of a loader that is not mmcv's, of which nothing is known."""
    wanted: int | None = None
    """The channels that the model takes, where they are known."""
    second: int = 0
    """Channels of the second image of a pair, behind three of the first; 0: there is none."""
    second_color_type: str = "grayscale"
    """As `color_type`, of second images."""

    @classmethod
    def of_config(cls, dataset: Mapping[str, Any], model: Any) -> Reading:
        """How a plain data set of a config reads, for the backbone of a model."""
        steps = dataset.get("pipeline") or ()
        load = next((step for step in steps if class_name(step["type"]) in LOADERS), None)
        # What other decoders than OpenCV leave of a file is theirs.
        if load is None or load.get("imdecode_backend", "cv2") != "cv2":
            return cls(None)
        wanted = _taken_by((model or {}).get("backbone"))
        if class_name(load["type"]) == "LoadPairedImage":
            second = load.get("second_channels", 3), load.get("second_color_type", "grayscale")
            return cls("color", wanted, *second)
        return cls(load.get("color_type", "color"), wanted)

    @property
    def turns(self) -> bool:
        """Whether an image is turned as its EXIF orientation says."""
        return self.color_type in (None, "color", "grayscale")

    def notes(self, facts: ImageFacts) -> Iterator[tuple[str, str]]:
        """What is lost of an image or does not fit, with the kind of finding."""
        if self.color_type is None:
            return
        if self.color_type in READS:
            if facts.deep:
                yield "image-deep", f"mode {facts.mode}, color_type={self.color_type!r}"
            if facts.alpha:
                yield "image-alpha", f"mode {facts.mode}, color_type={self.color_type!r}"
        read = READS.get(self.color_type, facts.channels) + self.second
        if self.wanted is not None and read != self.wanted:
            how = f"mode {facts.mode} is read with {read} (color_type={self.color_type!r})"
            if self.second:
                how = f"the two of a pair are read with 3 + {self.second} (second_channels)"
            yield "image-channels", f"{how}, in_channels of the backbone is {self.wanted}"

    def second_notes(self, facts: ImageFacts) -> Iterator[tuple[str, str]]:
        """The same of the second image of a pair."""
        how = f"mode {facts.mode}, second_color_type={self.second_color_type!r}"
        if self.second_color_type in READS:
            if facts.deep:
                yield "partner-deep", how
            if facts.alpha:
                yield "image-alpha", how
        elif facts.channels not in (1, self.second):
            yield "partner-channels", f"{facts.channels} channels: {how}, wanted 1 or {self.second}"


def _taken_by(backbone: Any) -> int | None:
    """The channels that the images of a backbone's config have."""
    if not isinstance(backbone, Mapping):
        return None
    if "in_channels" in backbone:
        return backbone["in_channels"]
    for target in targets(backbone.get("type"), None):
        for constructor in constructors(target):
            found = signature(constructor).parameters.get("in_channels")
            # Where it must be given, its absence has an error of its own.
            if found is not None and isinstance(found.default, int):
                return found.default
    return 3


AS_COLOURS = Reading()
"""As LoadImageFromFile reads where nothing else is said."""
