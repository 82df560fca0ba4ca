"""From a model and its config to what its file says of itself, and to the size that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from ..datasets.nodes import dataset_of_tests
from ..errors import UsageError
from ..models.image_channels import image_channels
from ..models.yolo.head import YOLODFLHead
from ..structures.classes import Classes
from .graphs import Graph
from .metadata import Inputs, Metadata, Origin, Size
from .steps import read_pipeline

IMAGENET_SIZE = 224
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
LONGEST = 2
"""A config's `scale` that is longer than this for its height stands for no one image."""


class DefaultSize(NamedTuple):
    """Height and width that a model is exported at if nobody says one."""

    height: int
    width: int
    reason: str

    @property
    def size(self) -> Size:
        return self.height, self.width


def default_size(cfg: Config | None) -> DefaultSize:
    """The size that the test pipeline of a config gives, for images that lie down.

    That is the crop of a classifier, a square for a letterbox; `scale`, its long side as the width,
    rounded up to what the data preprocessor pads to; or, where `scale` only bounds a side (2048,
    512 of ADE20K), the size that the segmentor is trained on. Images of another shape are made to
    fit into it.

    Args:
        cfg: None for a backbone alone, which gets what it was trained to classify.

    Raises:
        UsageError: no size follows from it.
    """
    if cfg is None:
        return DefaultSize(IMAGENET_SIZE, IMAGENET_SIZE, "what backbones are trained to classify")
    inputs = read_pipeline(dataset_of_tests(cfg).get("pipeline") or ())
    preprocessor = cfg.model.get("data_preprocessor") or {}
    divisor = math.lcm(_divisor(preprocessor), inputs.multiple)
    if inputs.pad_to is not None:
        height, width = (_rounded(side, divisor) for side in inputs.pad_to)
        return DefaultSize(height, width, "what the config's test pipeline pads to")
    if inputs.crop is not None:
        height, width = (_rounded(side, divisor) for side in inputs.crop)
        return DefaultSize(height, width, "the CenterCrop of the config's test pipeline")
    if inputs.scale is None or inputs.resize == "short_edge":
        more = f" by {', '.join(inputs.unknown)}" if inputs.unknown else " without resizing them"
        more = " by their shorter side alone" if inputs.scale else more
        raise UsageError(
            f"{_name(cfg)} prepares test images{more}, from which no size follows. Give "
            "--size H W, or --dynamic for a file that takes any"
        )
    width, height = inputs.scale
    if inputs.resize == "letterbox":
        return DefaultSize(width, width, "the square of the config's Letterbox")
    if inputs.resize == "keep_ratio":
        height, width = min(inputs.scale), max(inputs.scale)
        crop = _trained_size(cfg)
        if crop is not None and width > LONGEST * height:
            return DefaultSize(
                *crop,
                f"what the model is trained on, as Resize {inputs.scale[0]} × {inputs.scale[1]} "
                "gives every image another size; images are made to fit into it, --dynamic takes "
                "them as the config does",
            )
    reason = f"Resize {inputs.scale[0]} × {inputs.scale[1]} of the config's test pipeline"
    if inputs.resize == "keep_ratio" and width != height:
        reason += " for an image that lies down; one that stands is made smaller to fit"
    return DefaultSize(_rounded(height, divisor), _rounded(width, divisor), reason)


def metadata_of(
    graph: Graph,
    model: nn.Module,
    cfg: Config | None = None,
    *,
    format: str,
    size: Size | None = None,
    batch: int | None = 1,
    classes: Classes | None = None,
    origin: Origin | None = None,
    precision: str = "float32",
) -> Metadata:
    """What a file of a graph says of itself.

    Args:
        model: what the graph was made of; its data preprocessor says how images are normalised.
        cfg: its config, which says how they are resized; None for a backbone alone.
        size: height and width that the file takes; None if it takes any.
        batch: how many images it takes; None if it takes any number.
    """
    inputs = _normalising(model, _resizing(cfg, size))
    return Metadata(
        format=format,
        task=graph.task,
        inputs=replace(inputs, names=tuple(graph.input_names), size=size, batch=batch),
        outputs=tuple(graph.output_names),
        classes=classes.names if classes else (),
        palette=classes.colours if classes else (),
        origin=origin or Origin(),
        score_threshold=_threshold(model, "score_thr"),
        mask_threshold=_threshold(model, "mask_thr_binary")
        if "masks" in graph.output_names
        else None,
        clip_boxes=isinstance(getattr(model, "bbox_head", None), YOLODFLHead),
        precision=precision,
    )


def _resizing(cfg: Config | None, size: Size | None) -> Inputs:
    """What the test pipeline does; a size that is not the config's own takes the scale's place."""
    if cfg is None:
        # A backbone alone has no test pipeline.
        resize = "keep_ratio" if size is None else "stretch"
        return Inputs(resize=resize, scale=(LONGEST * IMAGENET_SIZE, IMAGENET_SIZE))
    inputs = read_pipeline(dataset_of_tests(cfg).get("pipeline") or ())
    if size is None or inputs.scale is None:
        return inputs
    if inputs.crop is not None:
        # As much is cut off as in the config's own tests.
        factor = max(size) / max(inputs.crop)
        height, width = (round(side * factor) for side in inputs.scale[::-1])
        return replace(inputs, crop=size, scale=(width, height))
    if inputs.resize == "short_edge":
        # Nothing is cut off, so that images have to fit.
        return replace(inputs, resize="keep_ratio", scale=(max(size), min(inputs.scale)))
    if size == default_size(cfg).size:
        return inputs
    return replace(inputs, scale=size[::-1])


def _normalising(model: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs with what the model's data preprocessor does."""
    preprocessor = getattr(model, "data_preprocessor", None)
    channels = image_channels(model) or inputs.channels
    if preprocessor is None:
        # What a backbone's other channels mean, nobody has said.
        known = channels == len(IMAGENET_MEAN)
        mean = IMAGENET_MEAN if known else (0.0,) * channels
        std = IMAGENET_STD if known else (1.0,) * channels
        order = _order(channels, swaps=known)
        return replace(
            inputs, channels=channels, channel_order=order, mean=mean, std=std, pad_value=mean
        )
    mean = _values(preprocessor, "mean", 0.0)
    std = _values(preprocessor, "std", 1.0)
    # One number stands for all channels.
    channels = len(mean) if len(mean) > 1 else channels
    mean, std = (row * channels if len(row) == 1 else row for row in (mean, std))
    # mmdet's and mmseg's exchange the colours of three channels, ours of more as well; mmpretrain's
    # calls it so.
    exchanges = getattr(preprocessor, "_channel_conversion", getattr(preprocessor, "to_rgb", False))
    theirs = channels == 3 and exchanges
    ours = channels >= 3 and getattr(preprocessor, "_exchanges", False)
    swaps = theirs or ours
    order = _order(channels, swaps, red_first=inputs.second_channels > 0)
    divisor, unknown = _padding(preprocessor, inputs)
    if inputs.sizes_with_padding:
        pad_value = inputs.pad_value * channels if len(inputs.pad_value) == 1 else inputs.pad_value
        # The pipeline pads before colours change places.
        pad_value = (*pad_value[2::-1], *pad_value[3:]) if swaps else pad_value
    else:
        normalised = float(getattr(preprocessor, "pad_value", getattr(preprocessor, "pad_val", 0)))
        pad_value = tuple(normalised * s + m for m, s in zip(mean, std))
    return replace(
        inputs,
        channels=channels,
        channel_order=order,
        mean=mean,
        std=std,
        pad_value=pad_value,
        size_divisor=divisor,
        unknown=inputs.unknown + unknown,
    )


def _order(channels: int, swaps: bool, red_first: bool = False) -> str:
    """What the graph's channels are, where files give blue, green, red, or `red_first` of pairs."""
    if channels == 1:
        return "grey"
    return "rgb" if swaps != red_first else "bgr"


def _padding(preprocessor: Any, inputs: Inputs) -> tuple[int, tuple[str, ...]]:
    """What sides are multiples of in the end, and what of it cannot be told."""
    # mmseg's pads in tests only as its `test_cfg` says, whatever it does in training.
    segments = hasattr(preprocessor, "test_cfg")
    tests = (preprocessor.test_cfg or {}) if segments else {}
    own: int = (tests.get("size_divisor") or 1) if segments else preprocessor.pad_size_divisor
    if tests.get("size"):
        return own, (f"data_preprocessor.test_cfg.size={tuple(tests['size'])}",)
    if not inputs.sizes_with_padding:
        return own, ()
    sides = inputs.pad_to or (inputs.size_divisor,)
    if any(side % own for side in sides):
        # Twice padded, by two values, of which `image_sizes` count one.
        return inputs.size_divisor, (f"data_preprocessor.pad_size_divisor={own} after Pad",)
    return math.lcm(inputs.size_divisor, own), ()


def _values(preprocessor: nn.Module, name: str, default: float) -> tuple[float, ...]:
    """Mean or deviation by channel; one number where nothing is normalised."""
    if not getattr(preprocessor, "_enable_normalize", False):
        return (default,)
    # Decimal places that float32 added are no part of what the config says.
    return tuple(float(f"{value:.7g}") for value in getattr(preprocessor, name).flatten().tolist())


def _threshold(model: nn.Module, name: str) -> float | None:
    """A threshold of `test_cfg`, of its second stage where there are two."""
    tests = getattr(model, "test_cfg", None) or {}
    tests = tests.get("rcnn") or tests
    value = tests.get(name)
    return None if value is None else float(value)


def _divisor(preprocessor: Mapping[str, Any]) -> int:
    """What mmdet's preprocessor, or mmseg's in tests, pads to multiples of."""
    tests = preprocessor.get("test_cfg") or {}
    return preprocessor.get("pad_size_divisor") or tests.get("size_divisor") or 1


def _trained_size(cfg: Config) -> Size | None:
    """Height and width of a segmentor's windows or crops; None for a detector."""
    sizes: Sequence[Any] = (
        (cfg.model.get("test_cfg") or {}).get("crop_size"),
        (cfg.model.get("data_preprocessor") or {}).get("size"),
    )
    for size in sizes:
        if size is not None:
            return (size[0], size[1])
    return None


def _rounded(side: int, divisor: int) -> int:
    return math.ceil(side / divisor) * divisor


def _name(cfg: Config) -> str:
    return Path(cfg.filename).name if cfg.filename else "the config"
