"""Another size of images in whatever a config does with them, in training, tests and inference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..signatures import class_name
from .record import Changes
from .size_rule import Size, SizeRule

SCALES = {
    "Resize": ("scale",),
    "FixScaleResize": ("scale",),
    "RandomResize": ("scale",),
    "RandomChoiceResize": ("scales",),
    "ResizeShortestEdge": ("scale",),
    "PrepareForFile": ("scale",),
    "Mosaic": ("img_scale",),
    "CachedMosaic": ("img_scale",),
    "RandomMosaic": ("img_scale",),
    "MixUp": ("img_scale",),
    "CachedMixUp": ("img_scale",),
    "BatchResize": ("scale",),
    "ResizeEdge": ("scale",),
}
"""Sizes that images are brought to."""
FIXED = {
    "Pad": ("size",),
    "PrepareForFile": ("pad_to",),
    "RandomCrop": ("crop_size",),
    "RandomCenterCropPad": ("crop_size",),
    "CenteredRandomAffine": ("size",),
    "Letterbox": ("size",),
    "BatchFixedSizePad": ("size",),
    "RandomResizedCrop": ("scale",),
    "EfficientNetRandomCrop": ("scale",),
    "CenterCrop": ("crop_size",),
    "EfficientNetCenterCrop": ("crop_size",),
}
"""Sizes that images are cut or filled up to."""
PIXELS = {
    "RandomChoiceResize": ("max_size",),
    "ResizeShortestEdge": ("max_size",),
    "BatchSyncRandomResize": ("random_size_range",),
    "RandomAffine": ("border",),
    "SSDAnchorGenerator": ("input_size",),
}
"""Numbers of pixels that are no size of an image."""
HEIGHT_FIRST = ("RandomMosaic", "BatchFixedSizePad")
SQUARE = ("Letterbox", "RandomAffine", "BatchSyncRandomResize", "SSDAnchorGenerator")
CLASSIFIED = (
    "RandomResizedCrop",
    "EfficientNetRandomCrop",
    "CenterCrop",
    "EfficientNetCenterCrop",
    "RandomCrop",
    "Resize",
)
"""What makes a classifier's images as large as the network sees them; the first that is there."""
RELATIVE = ("relative", "relative_range")
TESTING = ("val_", "test_", "tta_")
"""What sections begin with that say how images are tested."""
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
Step = tuple[dict, str]
"""A step of a pipeline or the like, and what the config calls it."""


def set_image_size(cfg: Config, imgsz: int | str | tuple[int, int], changes: Changes) -> None:
    """Let a config train, test and predict at another size.

    Detectors: whole images fit into it. Segmentors: it is the size of the crops they train on, and
    images of tests are scaled as much as those. Classifiers: it is what the network sees.

    Args:
        imgsz: a side, or height and width, also as `512x1024`.

    Raises:
        UsageError: it is no size, or the config has none that could be changed.
    """
    height, width = _sides(imgsz)
    classified = cfg.get("default_scope") == "mmpretrain"
    crops = cfg.get("default_scope") == "mmseg" or classified
    if classified:
        testing = _size_seen(cfg, "val_dataloader", "test_dataloader", "train_dataloader")
    else:
        testing = _size_of_crops(cfg) if crops else size_of_tests(cfg)
    if testing is None:
        raise UsageError(
            "--imgsz: no step of the config's pipelines resizes, cuts or pads images to a size. "
            "Set theirs by --cfg-options"
        )
    if classified:
        if width is not None and width != height:
            raise UsageError(f"--imgsz {_shown(imgsz)}: classifiers see squares; name one side")
        training = _size_seen(cfg, "train_dataloader") or testing
    else:
        training = testing if crops else _size_of_training(cfg) or testing
    for_tests, for_training = (
        SizeRule(old, _new_size(height, width, old, crops), crops) for old in (testing, training)
    )
    flag = f"--imgsz {_shown(imgsz)}"
    # One object may stand in several places.
    seen: set[int] = set()
    # Variables of a config are read by nobody, but written down with the rest.
    for steps, told in ((_steps(cfg), changes), (_variables(cfg), Changes())):
        for step, place in steps:
            rule = for_tests if place.startswith(TESTING) else for_training
            if id(step) not in seen:
                seen.add(id(step))
                _resize(step, place, rule, flag, told, width_first=not crops)
    _resize_model(cfg, for_training, flag, changes)


def _new_size(height: int, width: int | None, old: Size, crops: bool) -> Size:
    if width is not None:
        return Size(height, width)
    if not crops:
        return Size(height, height)
    # A single number is the short side of crops, which keep their shape.
    return Size(round(height * old.height / old.short), round(height * old.width / old.short))


def _sides(imgsz: Any) -> tuple[int, int | None]:
    if isinstance(imgsz, str) and (match := re.fullmatch(r"(\d+)(?:x(\d+))?", imgsz)):
        imgsz = int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))
    sides = imgsz if isinstance(imgsz, (list, tuple)) else (imgsz,)
    whole = all(isinstance(side, int) and side >= 32 for side in sides)
    if not whole or len(sides) not in (1, 2):
        raise UsageError(
            f"--imgsz is {_shown(imgsz)}, wanted a side of 32 pixels or more, such as 640, or "
            "HEIGHTxWIDTH, such as 512x1024"
        )
    return sides[0], sides[1] if len(sides) == 2 else None


def _shown(imgsz: Any) -> str:
    return "x".join(map(str, imgsz)) if isinstance(imgsz, (list, tuple)) else str(imgsz)


def _steps(cfg: Config) -> Iterator[Step]:
    """Whatever has a type where images are prepared."""
    for name in LOADERS:
        yield from _typed((cfg.get(name) or {}).get("dataset"), f"{name}.dataset")
    yield from _typed(cfg.get("tta_pipeline"), "tta_pipeline")
    yield from _typed(cfg.get("custom_hooks"), "custom_hooks")
    model = cfg.get("model") or {}
    preparing = model.get("data_preprocessor") or {}
    yield from _typed(preparing.get("batch_augments"), "model.data_preprocessor.batch_augments")
    yield from _typed(model.get("bbox_head"), "model.bbox_head")


def _variables(cfg: Config) -> Iterator[Step]:
    for name in [key for key in cfg if key.endswith("pipeline")]:
        yield from _typed(cfg[name], name)


def _typed(node: Any, place: str) -> Iterator[Step]:
    if isinstance(node, dict):
        if "type" in node:
            yield node, f"{place} ({class_name(node['type'])})"
        for key, value in node.items():
            yield from _typed(value, f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _typed(value, f"{place}.{index}")


def _resize(
    step: dict, place: str, rule: SizeRule, flag: str, changes: Changes, width_first: bool
) -> None:
    kind = class_name(step["type"])
    if kind == "RandomCrop" and step.get("crop_type") in RELATIVE:
        return
    if kind in SQUARE and rule.new.height != rule.new.width:
        raise UsageError(f"{flag}: {place} makes squares; name one side: --imgsz {rule.new.short}")
    # mmseg's crops have the height first; what both have from mmcv, the width.
    first = kind not in HEIGHT_FIRST and (width_first or kind != "RandomCrop")
    for key in SCALES.get(kind, ()):
        if step.get(key) is not None:
            changes.set(flag, step, key, rule.scale(step[key], first), place)
    for key in FIXED.get(kind, ()):
        if step.get(key) is not None:
            changes.set(flag, step, key, rule.fixed(step[key], first), place)
    for key in PIXELS.get(kind, ()):
        if step.get(key) is not None:
            changes.set(flag, step, key, rule.pixels(step[key]), place)


def _resize_model(cfg: Config, rule: SizeRule, flag: str, changes: Changes) -> None:
    model = cfg.get("model") or {}
    preparing = model.get("data_preprocessor") or {}
    place = "model.data_preprocessor"
    if preparing.get("size") is not None:
        changes.set(flag, preparing, "size", rule.fixed(preparing["size"], False), place)
    testing = preparing.get("test_cfg") or {}
    if testing.get("size") is not None:
        changes.set(flag, testing, "size", rule.fixed(testing["size"], False), f"{place}.test_cfg")
    # Of segmentors that test in windows.
    windows = model.get("test_cfg") or {}
    if windows.get("crop_size") is not None:
        size = rule.fixed(windows["crop_size"], False)
        changes.set(flag, windows, "crop_size", size, "model.test_cfg")
    if windows.get("mode") == "slide" and windows.get("stride") is not None:
        changes.set(flag, windows, "stride", rule.pixels(windows["stride"]), "model.test_cfg")
    divisor = preparing.get("pad_size_divisor") or 1
    if rule.new.height % divisor or rule.new.width % divisor:
        changes.say(f"{flag}: images are padded to multiples of {divisor}, as the network wants")


def size_of_tests(cfg: Config) -> Size | None:
    """What a detector's images fit into, as it tests or else as it trains."""
    for name in ("val_dataloader", "test_dataloader", "train_dataloader"):
        for step, _ in _typed((cfg.get(name) or {}).get("dataset"), name):
            kind = class_name(step["type"])
            for key in (*SCALES.get(kind, ()), *FIXED.get(kind, ())):
                size = _first_size(step.get(key), width_first=kind not in HEIGHT_FIRST)
                if size is not None:
                    return size
    return None


def _size_of_training(cfg: Config) -> Size | None:
    """What all of a detector's training images are cut to, which may differ from its tests."""
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    for step in dataset.get("pipeline") or []:
        if class_name(step["type"]) == "RandomCrop" and step.get("crop_type") not in RELATIVE:
            return _first_size(step["crop_size"], width_first=True)
    return None


def _size_seen(cfg: Config, *loaders: str) -> Size | None:
    """The size that the images of a classifier are cut to, by the first of some loaders."""
    for name in loaders:
        steps = dict.fromkeys(CLASSIFIED)
        for step, _ in _typed((cfg.get(name) or {}).get("dataset"), name):
            steps[class_name(step["type"])] = step
        for kind in CLASSIFIED:
            keys = SCALES.get(kind, ()) + FIXED.get(kind, ())
            size = _first_size((steps[kind] or {}).get(keys[0]), width_first=True)
            if size is not None:
                return size
    return None


def _size_of_crops(cfg: Config) -> Size | None:
    """The size that a segmentor trains on."""
    loader = cfg.get("train_dataloader") or cfg.get("test_dataloader") or {}
    for step, _ in _typed(loader.get("dataset"), ""):
        if class_name(step["type"]) == "RandomCrop":
            return _first_size(step["crop_size"], width_first=False)
    model = cfg.get("model") or {}
    preparing = model.get("data_preprocessor") or {}
    size = _first_size(preparing.get("size"), width_first=False)
    if size is None and (whole := size_of_tests(cfg)) is not None:
        size = Size(whole.short, whole.short)
    return size


def _first_size(value: Any, width_first: bool) -> Size | None:
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], int):
        return _first_size(value[0], width_first)
    if isinstance(value, int) and value > 0:
        return Size(value, value)
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    return Size(*(value[::-1] if width_first else value))
