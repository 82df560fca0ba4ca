"""What a config's loader makes of an image file: its channels, its bits, its alpha channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .images import ImageFacts

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

    @classmethod
    def of_config(cls, dataset: Mapping[str, Any], model: Any) -> Reading:
        """How a plain data set of a config reads, for the backbone of a model."""
        backbone = (model or {}).get("backbone")
        steps = dataset.get("pipeline") or ()
        load = next((step for step in steps if step.get("type") == "LoadImageFromFile"), None)
        # What other decoders than OpenCV leave of a file is theirs.
        if load is None or load.get("imdecode_backend", "cv2") != "cv2":
            return cls(None)
        wanted = backbone.get("in_channels", 3) if isinstance(backbone, Mapping) else None
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
        read = READS.get(self.color_type, facts.channels)
        if self.wanted is not None and read != self.wanted:
            how = f"mode {facts.mode} is read with {read} (color_type={self.color_type!r})"
            yield "image-channels", f"{how}, in_channels of the backbone is {self.wanted}"


AS_COLOURS = Reading()
"""As LoadImageFromFile reads where nothing else is said."""
