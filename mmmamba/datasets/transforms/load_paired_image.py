"""Reading two aligned images of one place as one image of more channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.registry import TRANSFORMS

from ...errors import UsageError
from ...suggest import did_you_mean

COLOUR_CHANNELS = 3
COLOR_TYPES = ("grayscale", "color", "unchanged")


@TRANSFORMS.register_module()
class LoadPairedImage(LoadImageFromFile):
    """A colour image and, behind it, a second one of the same size (thermal, depth, …).

    Reads `img_path` as mmcv's `LoadImageFromFile` does and `second_path`, which `PairedSegDataset`
    gives. Leaves `img` (H, W, 3 + second_channels): **red, green, blue**, then the second image, so
    that every later step moves both. `data_preprocessor` has as many means and
    `bgr_to_rgb=False`.

    Args:
        second_channels: 1, or 3: a grey file three times the same, as networks with pretrained
            stems take it.
        second_color_type: "grayscale": 8 bits, of files with more the upper ones, of colours their
            grey; "color": 8 bits, red, green, blue; "unchanged": the file's own bits and values,
            which means and deviations are then of. The colours stay 0 … 255.
        settings: those of `LoadImageFromFile` but `color_type`, for both.

    Raises:
        UsageError: settings that do not go together; the sample names no second file.
        FileNotFoundError: one of the files is not there.
        ValueError: the two are of different sizes, or the second has other channels.
    """

    def __init__(
        self,
        second_channels: int = 3,
        second_color_type: str = "grayscale",
        **settings: Any,
    ) -> None:
        if second_color_type not in COLOR_TYPES:
            raise UsageError(
                f"second_color_type is {second_color_type!r}, wanted {', '.join(COLOR_TYPES)}."
                f"{did_you_mean(second_color_type, COLOR_TYPES)}"
            )
        if second_channels not in (1, COLOUR_CHANNELS):
            raise UsageError(f"second_channels is {second_channels}, wanted 1 or 3")
        if second_color_type == "color" and second_channels == 1:
            raise UsageError(
                "second_color_type='color' reads three channels and second_channels is 1: "
                "'grayscale' makes one of them"
            )
        for refused in ("color_type", "ignore_empty"):
            if refused in settings:
                raise UsageError(f"LoadPairedImage takes no {refused}: the first image is colours")
        super().__init__(**settings)
        self.second_channels, self.second_color_type = second_channels, second_color_type
        self._second = LoadImageFromFile(color_type=second_color_type, **settings)

    @property
    def channels(self) -> int:
        """Channels of both images together."""
        return COLOUR_CHANNELS + self.second_channels

    def transform(self, results: dict) -> dict:
        file, partner = results["img_path"], results.get("second_path")
        if not partner:
            raise UsageError(
                f"nothing names the second image of {file}: the data set is to be a "
                "PairedSegDataset with second_path in its data_prefix"
            )
        results = super().transform(results)
        try:
            second = self._second.transform(dict(img_path=partner))["img"]
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{file} has no partner: there is no {partner}") from error
        second_HWC = second[..., None] if second.ndim == 2 else second
        image_HWC = results["img"]
        if image_HWC.shape[:2] != second_HWC.shape[:2]:
            raise ValueError(
                f"{file} is {_size(image_HWC)} and {partner} is {_size(second_HWC)}: the two of a "
                "pair are to be of one size, pixel over pixel"
            )
        results["img"] = np.concatenate(
            [image_HWC[..., ::-1], self._channels_of(second_HWC, partner)], axis=2
        )
        return results

    def _channels_of(self, second_HWC: np.ndarray, file: str) -> np.ndarray:
        """The second image with as many channels as wanted, colours as red, green, blue."""
        found = second_HWC.shape[2]
        if found == COLOUR_CHANNELS == self.second_channels:
            return second_HWC[..., ::-1]
        if found == 1:
            return second_HWC.repeat(self.second_channels, axis=2)
        raise ValueError(
            f"{file} has {found} channels, wanted {self.second_channels}: "
            "second_color_type='grayscale' makes grey of what it finds"
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(second_channels={self.second_channels}, "
            f"second_color_type={self.second_color_type!r}, to_float32={self.to_float32}, "
            f"imdecode_backend={self.imdecode_backend!r}, backend_args={self.backend_args})"
        )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
