"""What an exported file says of itself, so that it runs without this project."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import UsageError
from ..printable import printable, printable_names
from ..structures.colours import Colour
from ..version import __version__

LAYOUT = 1
"""Raised whenever a key changes its meaning."""
RESIZES = ("keep_ratio", "short_edge", "stretch", "letterbox", "none")
INTERPOLATIONS, BACKENDS = ("bilinear", "bicubic"), ("cv2", "pillow")
TASKS = ("backbone", "detection", "segmentation", "saliency", "classification")
Size = tuple[int, int]


@dataclass(frozen=True)
class Origin:
    """Where a file comes from."""

    config: str = ""
    checkpoint: str = ""
    date: str = ""


@dataclass(frozen=True)
class Inputs:
    """How an image becomes the graph's `images`; in the order in which it happens.

    All values are in the units of the image file, mostly 0 … 255, and lengths in pixels.
    """

    names: tuple[str, ...] = ("images",)
    """The graph's inputs: detectors also take `image_sizes`."""
    channels: int = 3
    channel_order: str = "rgb"
    """`rgb` or `bgr`, what lies behind these three unmoved; `grey` for one channel."""
    second_channels: int = 0
    """How many of the channels, the last ones, are a second image of the same place and size
    (thermal, depth); 0: there is none."""
    second_color_type: str = "grayscale"
    """How it is read: `grayscale`, 8 bits of grey, repeated for three channels; `color`, red,
    green, blue; `unchanged`, the values of its file."""
    size: Size | None = None
    """Height and width that the file takes; None: any."""
    batch: int | None = 1
    """How many images the file takes; None: any number."""
    resize: str = "none"
    """`keep_ratio`: as large as `scale`, in either orientation, and `size` allow, to the nearest
    pixel; `short_edge`: until the shorter side is that of `scale`, the other one rounded down;
    `letterbox`: as `keep_ratio`, rounded up; `stretch`: to `size`, else `scale`; `none`: not
    enlarged, and made smaller only if `size` is."""
    scale: Size | None = None
    """Width and height of the config's test pipeline, as OpenMMLab writes them."""
    multiple: int = 1
    """Resized once more, to the next multiples of it."""
    interpolation: str = "bilinear"
    """`bilinear` or `bicubic`, as `backend` has it."""
    backend: str = "cv2"
    """What resizes: `cv2`, between four or sixteen pixels, or `pillow`, which averages over more
    where an image shrinks."""
    crop: Size | None = None
    """Height and width of the centre that is left of what is larger, after it was resized."""
    pad_to: Size | None = None
    """Height and width that are padded to where `size` is None."""
    pad_extra: int = 0
    """Added to each side before it is rounded up to a multiple of `size_divisor`."""
    size_divisor: int = 1
    """Padded to multiples of it where neither `size` nor `pad_to` says a size."""
    pad_value: tuple[float, ...] = (0.0,)
    """By channel, in the graph's order."""
    pad_place: str = "corner"
    """`corner`: on the right and below; `centre`: on all sides, an odd pixel on the right and
    below."""
    sizes_with_padding: bool = False
    """Whether `image_sizes` count the padding, as where the test pipeline itself pads."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """The network gets (image - mean) / std."""
    unknown: tuple[str, ...] = ()
    """Steps of the config's test pipeline that are not told here."""

    @property
    def exchanges(self) -> bool:
        """Whether red and blue change places on the way from what is read to the graph.

        Files are read as blue, green, red, and pairs of them as red, green, blue.
        """
        return self.channel_order == ("bgr" if self.second_channels else "rgb")

    def shape(self, name: str) -> tuple[int | None, ...]:
        """The shape of an input; None for a length that may be any."""
        if name == "images":
            return (self.batch, self.channels, *(self.size or (None, None)))
        return (self.batch, 2)


@dataclass(frozen=True)
class Metadata:
    """All of it. `to_strings` and `from_strings` are what files hold."""

    format: str
    """`onnx`, `openvino`, `pt2` or `aoti`."""
    task: str
    """One of `TASKS`."""
    inputs: Inputs
    outputs: tuple[str, ...]
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    origin: Origin = field(default_factory=Origin)
    score_threshold: float | None = None
    """Boxes below it are not among the outputs."""
    mask_threshold: float | None = None
    """A pixel belongs to an object from this share on."""
    clip_boxes: bool = False
    """Whether boxes end where the image does, once they are in its pixels."""
    precision: str = "float32"
    """`float32`, `float16` or `int8`."""
    verification: Mapping[str, Any] = field(default_factory=dict)
    """The report of the comparison with PyTorch; empty before it."""
    mmmamba_version: str = __version__
    layout: int = LAYOUT

    def to_strings(self) -> dict[str, str]:
        """Every key with its value in JSON."""
        return {key: json.dumps(value, ensure_ascii=False) for key, value in asdict(self).items()}

    def to_json(self) -> str:
        """The same in one string."""
        return json.dumps(self.to_strings(), ensure_ascii=False)

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], source: str = "the file") -> Metadata:
        """What a file holds, checked.

        Args:
            source: what errors call the file.

        Raises:
            UsageError: it is not of `mmmamba export`, of a version that is not known, or damaged.
        """
        if "mmmamba_version" not in strings or "layout" not in strings:
            raise UsageError(
                f"{source} was not written by `mmmamba export`: it does not say how images are "
                "prepared and what its outputs are. Export the model with `mmmamba export`"
            )
        read = _Reader(strings, source)
        layout, version = read.value("layout", int), read.value("mmmamba_version", str)
        if layout != LAYOUT:
            raise UsageError(
                f"{source} was written by mmmamba {printable(version)}, whose metadata have layout "
                f"{layout}; mmmamba {__version__} reads layout {LAYOUT}. Export the model again, "
                "or install that version"
            )
        return cls(
            format=read.value("format", str),
            task=read.one_of("task", TASKS),
            inputs=read.inputs(),
            outputs=read.row("outputs", str),
            classes=read.row("classes", str),
            palette=tuple(map(tuple, read.value("palette", list))),
            origin=Origin(**read.part("origin", Origin)),
            score_threshold=read.value("score_threshold", (int, float, type(None))),
            mask_threshold=read.value("mask_threshold", (int, float, type(None))),
            clip_boxes=read.value("clip_boxes", bool),
            precision=read.one_of("precision", ("float32", "float16", "int8")),
            verification=read.value("verification", dict),
            mmmamba_version=version,
            layout=layout,
        )

    @classmethod
    def from_json(cls, text: str, source: str = "the file") -> Metadata:
        """The reverse of `to_json`."""
        strings = _parsed(text, "the metadata", source)
        if not isinstance(strings, dict):
            raise UsageError(f"{source}: its metadata are {printable(text)}, wanted a JSON object")
        return cls.from_strings(strings, source)


LATER: dict[str, dict[str, Any]] = {
    "inputs": dict(second_channels=0, second_color_type="grayscale"),
}
"""What files that do not say it mean, as they were written before there was another meaning."""


class _Reader:
    """Values out of a file's strings, each of the kind that it must be."""

    def __init__(self, strings: Mapping[str, str], source: str) -> None:
        self.source = source
        self.strings = strings

    def value(self, key: str, kind: type | tuple[type, ...]) -> Any:
        if key not in self.strings:
            raise UsageError(
                f"{self.source} does not say its {key}: it is damaged, or was changed since "
                "`mmmamba export` wrote it. Export the model again"
            )
        value = _parsed(self.strings[key], key, self.source)
        # JSON's true is an int to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            self.refuse(key, value)
        return value

    def row(self, key: str, kind: type) -> tuple[Any, ...]:
        value = self.value(key, list)
        if not all(isinstance(one, kind) for one in value):
            self.refuse(key, value)
        return tuple(value)

    def one_of(self, key: str, known: tuple[str, ...]) -> str:
        value = self.value(key, str)
        if value not in known:
            self.refuse(key, value, " or ".join(known))
        return value

    def part(self, key: str, kind: type) -> dict[str, Any]:
        """The fields of a dataclass."""
        value, later = self.value(key, dict), LATER.get(key, {})
        wanted = [one.name for one in fields(kind)]
        if missing := [name for name in wanted if name not in {**later, **value}]:
            self.refuse(key, value, f"one with {printable_names(missing)}")
        return {name: value.get(name, later.get(name)) for name in wanted}

    def inputs(self) -> Inputs:
        part = self.part("inputs", Inputs)
        for name, (check, wanted) in INPUT_CHECKS.items():
            if not check(part[name]):
                self.refuse(f"inputs.{name}", part[name], wanted)
        values: dict[str, Any] = {}
        for name, value in part.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return Inputs(**values)

    def refuse(self, key: str, value: Any, wanted: str = "another kind of value") -> None:
        raise UsageError(
            f"{self.source}: its {key} is {printable(value)}, wanted {wanted}. The file was "
            "changed since `mmmamba export` wrote it: export the model again"
        )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and len(value) == 2 and all(map(_count, value))
    )


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, (int, float)) for one in value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


SIZE = _size, "two whole numbers or null"
NUMBERS = _numbers, "a list of numbers"
TEXTS = _texts, "a list of texts"
COUNT = _count, "a whole number above 0"


def _choice(*known: str) -> tuple[Callable[[Any], bool], str]:
    return known.__contains__, " or ".join(known)


INPUT_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "names": TEXTS,
    "channels": COUNT,
    "channel_order": _choice("rgb", "bgr", "grey"),
    "second_channels": (lambda value: value in (0, 1, 3), "0, 1 or 3"),
    "second_color_type": _choice("grayscale", "color", "unchanged"),
    "size": SIZE,
    "batch": (lambda value: value is None or _count(value), "a whole number or null"),
    "resize": _choice(*RESIZES),
    "scale": SIZE,
    "multiple": COUNT,
    "interpolation": _choice(*INTERPOLATIONS),
    "backend": _choice(*BACKENDS),
    "crop": SIZE,
    "pad_to": SIZE,
    "pad_extra": (lambda value: isinstance(value, int), "a whole number"),
    "size_divisor": COUNT,
    "pad_value": NUMBERS,
    "pad_place": _choice("corner", "centre"),
    "sizes_with_padding": (lambda value: isinstance(value, bool), "true or false"),
    "mean": NUMBERS,
    "std": NUMBERS,
    "unknown": TEXTS,
}


def _parsed(text: Any, key: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{source}: {key} is {printable(text)}, which is no JSON: it is damaged, or was "
            "changed since `mmmamba export` wrote it. Export the model again"
        ) from error
