"""How images are prepared for a file: by what it says of itself, or by a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmengine.config import Config

from ..config.signatures import class_name

# They register the steps that take the place of a config's.
from ..datasets import transforms  # noqa: F401
from ..datasets.nodes import replace_plain
from .metadata import Metadata

Size = tuple[int, int]
RESIZING = ("Resize", "FixScaleResize", "ResizeShortestEdge", "ResizeToMultiple", "FitWithin")
"""Steps that make an image larger or smaller as a whole."""
PADDING = ("Letterbox", "Pad", "PadAnyChannels")
"""Steps that add to it."""
DETECTION_KEYS = (
    "img_id",
    "img_path",
    "ori_shape",
    "img_shape",
    "scale_factor",
    "pad_param",
)


def own_pipeline(metadata: Metadata) -> list[dict[str, Any]]:
    """The steps that a file's metadata tell."""
    kinds, inputs = {1: "grayscale", 3: "color"}, metadata.inputs
    load = dict(type="LoadImageFromFile", color_type=kinds.get(inputs.channels, "unchanged"))
    if inputs.second_channels:
        read = {key: getattr(inputs, key) for key in ("second_channels", "second_color_type")}
        load = dict(type="LoadPairedImage", **read)
    packs = dict(
        detection=dict(type="PackDetInputs", meta_keys=DETECTION_KEYS),
        segmentation=dict(type="PackSegInputs"),
        saliency=dict(type="PackSegInputs"),
        classification=dict(type="PackInputs"),
    )
    return [
        load,
        dict(type="PrepareForFile", **asdict(inputs)),
        packs[metadata.task],
    ]


def fit_tests(cfg: Config, size: Size, name: str) -> list[str]:
    """Make a config's tests give images that fit into a size. Returns what to tell of it.

    Args:
        name: of the file that takes no others.
    """
    changed: list[str] = []

    def change(dataset: dict) -> dict:
        steps = dataset.get("pipeline") or []
        made = fitted(steps, size)
        if made != list(steps):
            changed.append(_names(made))
        return {**dataset, "pipeline": made}

    cfg.test_dataloader.dataset = replace_plain(cfg.test_dataloader.dataset, change)
    return [
        f"{name} takes images of {size[0]}x{size[1]} alone: the test pipeline makes them fit, and "
        f"what is left is padding ({line})"
        for line in dict.fromkeys(changed)
    ]


def fitted(steps: Sequence[Mapping[str, Any]], size: Size) -> list[dict[str, Any]]:
    """The steps of a pipeline, changed so that no image is larger than `size` after them.

    Steps that fit already stay as they are.
    """
    if any(class_name(step["type"]) == "CenterCrop" for step in steps):
        return _fitted_crop(steps, size)
    made: list[dict[str, Any]] = []
    resized = False
    for step in map(dict, steps):
        kind = class_name(step["type"])
        if kind in RESIZING:
            # The first one decides: those behind it would be undone.
            if not resized:
                made.append(_fitted_resize(step, kind, size))
            resized = True
        elif kind == "Letterbox":
            made.append({**step, "size": _square(size), "rect": False})
            resized = True
        elif kind in ("Pad", "PadAnyChannels"):
            made.append(_fitted_pad(step, size))
        else:
            made.append(step)
    if not resized:
        # Only those that are too large change.
        first = dict(type="FitWithin", size=size, enlarge=False)
        made.insert(_behind_loaders(made), first)
    if made == list(map(dict, steps)):
        return made
    return [_with_scale(step) for step in _labels_last(made)]


def _fitted_crop(steps: Sequence[Mapping[str, Any]], size: Size) -> list[dict[str, Any]]:
    """The steps of a classifier's pipeline, which resizes by a side and cuts to the centre.

    As large a share of the image is left as before.
    """
    crop = next(step["crop_size"] for step in steps if class_name(step["type"]) == "CenterCrop")
    if crop in (size[::-1], list(size[::-1])) or (isinstance(crop, int) and (crop, crop) == size):
        return list(map(dict, steps))
    factor = max(size) / (crop if isinstance(crop, int) else max(crop))
    made: list[dict[str, Any]] = []
    for step in map(dict, steps):
        kind = class_name(step["type"])
        if kind == "CenterCrop":
            step["crop_size"] = size[::-1]
        elif kind in ("ResizeEdge", "Resize") and isinstance(step.get("scale"), int):
            step["scale"] = round(step["scale"] * factor)
        elif kind == "Resize":
            step["scale"] = tuple(round(side * factor) for side in step["scale"])
        made.append(step)
    return made


def _fitted_resize(step: dict[str, Any], kind: str, size: Size) -> dict[str, Any]:
    if kind == "FitWithin":
        return {**step, "size": size}
    scale = step.get("scale")
    if kind == "Resize" and step.get("keep_ratio", False) is False:
        return {**step, "scale": size[::-1]}
    # A scale is for a long and a short side, whichever those are.
    pair = isinstance(scale, (list, tuple)) and len(scale) == 2
    if kind == "Resize" and pair and max(scale) <= min(size):
        return step
    return dict(type="FitWithin", size=size)


def _fitted_pad(step: dict[str, Any], size: Size) -> dict[str, Any]:
    others = {k: v for k, v in step.items() if k not in ("size_divisor", "pad_to_square")}
    return {**others, "size": size[::-1]}


def _square(size: Size) -> int | Size:
    return size[0] if size[0] == size[1] else size


def _behind_loaders(steps: Sequence[Mapping[str, Any]]) -> int:
    """The place behind the steps that read the image."""
    for place, step in enumerate(steps):
        if not class_name(step["type"]).startswith("Load"):
            return place
        # Label maps are compared at the image's own size.
        if class_name(step["type"]).endswith("Annotations"):
            return place
    return len(steps)


def _labels_last(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps with labels read behind what resizes: they are compared at the image's own size."""
    kinds = [class_name(step["type"]) for step in steps]
    last = max(place for place, kind in enumerate(kinds) if kind in (*RESIZING, *PADDING))
    early = [place for place in range(last) if kinds[place].endswith("Annotations")]
    before = [step for place, step in enumerate(steps[: last + 1]) if place not in early]
    return [*before, *(steps[place] for place in early), *steps[last + 1 :]]


def _with_scale(step: dict[str, Any]) -> dict[str, Any]:
    """A step that packs keeps what leads back to the original image."""
    keys = step.get("meta_keys")
    if keys is None or "scale_factor" in keys:
        return step
    return {**step, "meta_keys": (*keys, "scale_factor")}


def _names(steps: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(class_name(step["type"]) for step in steps)
