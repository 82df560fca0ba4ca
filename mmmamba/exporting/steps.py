"""What a config's test pipeline does to an image, read from its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..datasets.transforms.letterbox import PAD
from .metadata import BACKENDS, INTERPOLATIONS, Inputs


def read_pipeline(steps: Sequence[Mapping[str, Any]]) -> Inputs:
    """Loading, resizing, cutting and padding as `Inputs`.

    `unknown` names the steps that are not told by it. Values for padding are in the order of the
    file's channels.
    """
    inputs = Inputs(pad_value=(0.0,))
    for step in steps:
        kind = step["type"] if isinstance(step["type"], str) else step["type"].__name__
        kind = kind.rpartition(".")[2]
        if kind.endswith("Annotations") or kind.startswith("Pack"):
            continue
        read = READERS.get(kind)
        changed = read(step, inputs) if read else None
        unknown = (*inputs.unknown, kind)
        inputs = changed or replace(inputs, unknown=unknown)
    return inputs


def _load(step: Mapping[str, Any], inputs: Inputs) -> Inputs:
    grey = str(step.get("color_type", "color")).startswith("grayscale")
    return replace(inputs, channels=1) if grey else inputs


def _load_pair(step: Mapping[str, Any], inputs: Inputs) -> Inputs:
    second = step.get("second_channels", 3)
    return replace(
        inputs,
        channels=3 + second,
        second_channels=second,
        second_color_type=step.get("second_color_type", "grayscale"),
    )


def _resize(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    scale = _pair(step.get("scale"))
    if scale is None or not _first(inputs) or not _known(step):
        return None
    resize = "keep_ratio" if step.get("keep_ratio") else "stretch"
    return replace(inputs, resize=resize, scale=scale, **_interpolated(step))


def _edge(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    scale = step.get("scale")
    short = step.get("edge", "short") == "short"
    if not isinstance(scale, int) or not short or not _first(inputs) or not _known(step):
        return None
    return replace(inputs, resize="short_edge", scale=(scale, scale), **_interpolated(step))


def _crop(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    # Width and height, as OpenMMLab writes them.
    size = _pair(step.get("crop_size"))
    if size is None or inputs.crop or inputs.sizes_with_padding or step.get("auto_pad"):
        return None
    return replace(inputs, crop=size[::-1])


def _shortest_edge(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    scale, longest = _pair(step.get("scale")), step.get("max_size")
    if scale is None or not isinstance(longest, int) or not _first(inputs):
        return None
    return replace(inputs, resize="keep_ratio", scale=(longest, min(scale)))


def _to_multiple(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    multiple = step.get("size_divisor", 32)
    # Of a size that padding or cutting has made, nothing more is told.
    if not isinstance(multiple, int) or inputs.sizes_with_padding or inputs.crop:
        return None
    if not _known(step) or inputs.backend != "cv2" or inputs.interpolation != "bilinear":
        return None
    return replace(inputs, multiple=multiple)


def _pad(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    value = step.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    values = tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),)
    size, divisor = _pair(step.get("size")), step.get("size_divisor")
    constant = step.get("padding_mode", "constant") == "constant"
    if inputs.sizes_with_padding or step.get("pad_to_square") or not constant:
        return None
    if size is None and divisor is None:
        return None
    return replace(
        inputs,
        pad_to=size and size[::-1],
        size_divisor=divisor or 1,
        pad_value=values,
        sizes_with_padding=True,
    )


def _letterbox(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    if not _first(inputs):
        return None
    size, divisor = step.get("size", 640), step.get("size_divisor", 32)
    rect = step.get("rect", False)
    return replace(
        inputs,
        resize="letterbox",
        scale=(size, size),
        pad_to=None if rect else (size, size),
        pad_extra=divisor // 2 if rect else 0,
        size_divisor=divisor if rect else 1,
        pad_value=(float(PAD),),
        pad_place="centre",
        sizes_with_padding=True,
    )


def _flip(step: Mapping[str, Any], inputs: Inputs) -> Inputs | None:
    return inputs if step.get("prob") == 0 else None


READERS = dict(
    LoadImageFromFile=_load,
    LoadPairedImage=_load_pair,
    Resize=_resize,
    ResizeEdge=_edge,
    CenterCrop=_crop,
    ResizeShortestEdge=_shortest_edge,
    ResizeToMultiple=_to_multiple,
    Pad=_pad,
    PadAnyChannels=_pad,
    Letterbox=_letterbox,
    RandomFlip=_flip,
)


def _first(inputs: Inputs) -> bool:
    """Whether nothing has changed the image's size yet."""
    untouched = inputs.multiple == 1 and not inputs.sizes_with_padding and inputs.crop is None
    return inputs.resize == "none" and untouched


def _interpolated(step: Mapping[str, Any]) -> dict[str, str]:
    """How a step resizes, by the fields of `Inputs`."""
    return dict(
        interpolation=step.get("interpolation") or "bilinear", backend=step.get("backend") or "cv2"
    )


def _known(step: Mapping[str, Any]) -> bool:
    """Whether a step resizes in a way that files can tell."""
    given = _interpolated(step)
    return given["interpolation"] in INTERPOLATIONS and given["backend"] in BACKENDS


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2:
        first, second = value
        return (first, second) if isinstance(first, int) and isinstance(second, int) else None
    return None
