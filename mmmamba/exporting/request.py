"""What is to be exported and how, with the checks that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from torch import nn

from ..errors import UsageError
from ..suggest import did_you_mean
from .files import FORMATS

SMALLEST = 32
"""Pixels of a side: what the strides of all models divide."""
QUANTIZED = ("onnx", "openvino")
"""Formats that hold int8."""
FOR_PYTORCH = ("pt2", "aoti")


@dataclass(frozen=True)
class Subject:
    """A trained model, and what a file says of it."""

    model: nn.Module
    cfg: Config | None
    """Its config; None for a bare backbone."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """A colour (red, green, blue) for each class."""
    config: str
    """The config's path, or the backbone's name."""
    checkpoint: str
    """File or URL of the weights; empty where they are random."""


@dataclass(frozen=True)
class Request:
    """The file that is asked for; `make_request` checks it."""

    out: Path
    format: str = "onnx"
    size: tuple[int, int] | None = None
    """Height and width; None takes the config's, or none where the file is dynamic."""
    dynamic: bool = False
    batch: int = 1
    half: bool = False
    int8: bool = False
    calibrate: str | None = None
    """Folder of images, or the config whose training images int8 is calibrated on."""
    nms: bool = True
    logits: bool = False
    standalone: bool | None = None
    """PyTorch alone runs it, without operators of mmmamba; None: where that is not slow."""
    image: Path | None = None
    """A real image that the file is verified on."""
    second: Path | None = None
    """Its second one, of models that take pairs."""
    device: str = "cpu"

    @property
    def precision(self) -> str:
        if self.int8:
            return "int8"
        return "float16" if self.half else "float32"


def make_request(
    name: str,
    folder: Path = Path(),
    *,
    format: str | None = None,
    size: int | Sequence[int] | None = None,
    dynamic: bool = False,
    batch: int = 1,
    half: bool = False,
    int8: bool = False,
    calibrate: str | Path | None = None,
    nms: bool = True,
    logits: bool = False,
    standalone: bool | None = None,
    out: str | Path | None = None,
    image: str | Path | None = None,
    second: str | Path | None = None,
    device: str = "cpu",
) -> Request:
    """What is asked for, checked as far as it can be without a model.

    Args:
        name: of the model, after which the file is called where `out` is None.
        folder: where it goes then.
        format: one of `FORMATS`; that of `out`'s ending if None, else ONNX.
        size: height and width, or the side of a square.
        standalone: of files for PyTorch, whether they do without operators of ours; None leaves
            them in `pt2`, where they are the faster, and not in `aoti`, if that is possible.

    Raises:
        UsageError: a value is out of range, or two do not go together.
    """
    chosen = _format(format, out)
    sides = _sides(size)
    if batch < 1:
        raise UsageError(f"--batch is {batch}, wanted 1 or more")
    _check_shape(sides, dynamic, batch)
    _check_precision(chosen, half, int8, calibrate)
    if not nms and logits:
        raise UsageError(
            "--no-nms is of detectors and --logits of segmentors and classifiers: leave one of "
            "them out"
        )
    if standalone is not None and chosen not in FOR_PYTORCH:
        flag = "--standalone" if standalone else "--no-standalone"
        raise UsageError(
            f"{flag} is for files of {' and '.join(FOR_PYTORCH)}, and {chosen} files never need "
            "mmmamba. Leave it out"
        )
    request = Request(
        out=_place(name, folder, chosen, half, int8, out),
        format=chosen,
        size=sides,
        dynamic=dynamic,
        batch=batch,
        half=half,
        int8=int8,
        calibrate=None if calibrate is None else str(calibrate),
        nms=nms,
        logits=logits,
        standalone=standalone,
        image=None if image is None else Path(image),
        second=None if second is None else Path(second),
        device=device,
    )
    for flag, path in (("--image", request.image), ("--second", request.second)):
        if path is not None and not path.is_file():
            raise UsageError(f"{flag} {path}: there is no such file, seen from {Path.cwd()}")
    if request.image is None and request.second is not None:
        raise UsageError(f"--second {second} is the second image of --image, which is not named")
    return request


def _format(asked: str | None, out: str | Path | None) -> str:
    if asked is not None and asked not in FORMATS:
        raise UsageError(
            f"--format is {asked!r}, wanted one of {', '.join(FORMATS)}."
            f"{did_you_mean(asked, FORMATS)}"
        )
    if out is None:
        return asked or "onnx"
    name = str(out).lower()
    fitting = [kind for kind, ending in FORMATS.items() if name.endswith(ending)]
    # `.aoti.pt2` ends in `.pt2` as well: the last one is the longer.
    found = fitting[-1] if fitting else None
    # An existing folder, or one whose name says so, is told by the check of the place.
    if found is None and Path(out).is_dir():
        return asked or "onnx"
    if found is None or asked not in (None, found):
        wanted = asked or "onnx"
        stem = (
            str(out)[: len(str(out)) - len(FORMATS[found])] if found else Path(out).with_suffix("")
        )
        more = f", or leave --format {asked} out" if found and asked else ""
        raise UsageError(
            f"--out {out}: files of {wanted} end in {FORMATS[wanted]}. Name it "
            f"{stem}{FORMATS[wanted]}{more}"
        )
    return found


def _sides(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) not in (1, 2) or min(sides) < SMALLEST:
        shown = " ".join(map(str, sides))
        raise UsageError(
            f"--size is {shown}, wanted HEIGHT WIDTH such as 480 640, or one side, each of "
            f"{SMALLEST} pixels or more"
        )
    return sides[0], sides[-1]


def _check_shape(sides: tuple[int, int] | None, dynamic: bool, batch: int) -> None:
    if not dynamic:
        return
    if sides is not None:
        shown = " ".join(map(str, sides))
        raise UsageError(
            f"--dynamic makes a file for images of every size, and --size {shown} one for this "
            "size: leave one of them out"
        )
    if batch != 1:
        raise UsageError(
            f"--dynamic makes a file for any number of images at a time: leave --batch {batch} out"
        )


def _check_precision(chosen: str, half: bool, int8: bool, calibrate: str | Path | None) -> None:
    if int8 and half:
        raise UsageError("--int8 and --half are two precisions of one file: leave one of them out")
    if int8 and calibrate is None:
        raise UsageError(
            "--int8 needs images to learn the ranges of numbers from: --calibrate DIR, a folder of "
            "some hundred images such as those the model will see, or --calibrate CONFIG, for its "
            "training images"
        )
    if calibrate is not None and not int8:
        raise UsageError(f"--calibrate {calibrate} is for --int8, which is not asked for")
    if int8 and chosen not in QUANTIZED:
        raise UsageError(
            f"--int8 is for files of {' and '.join(QUANTIZED)}, and this one is {chosen}. Leave "
            "--int8 out, or name another --format"
        )
    if half and chosen == "aoti":
        raise UsageError(
            "--half is not for aoti, whose packages hold the network as it is. Leave it out, or "
            "name another --format"
        )
    # A config is found later, by name as well; what looks like a path has to be there.
    if calibrate is not None and not Path(calibrate).exists():
        plain = Path(calibrate).suffix == "" and not Path(calibrate).is_absolute()
        if not plain:
            raise UsageError(
                f"--calibrate {calibrate}: there is no such folder or config, seen from "
                f"{Path.cwd()}"
            )


def _place(
    name: str, folder: Path, chosen: str, half: bool, int8: bool, out: str | Path | None
) -> Path:
    """Where the file goes."""
    if out is None:
        # Files of several precisions lie beside each other.
        kind = "_int8" if int8 else "_half" if half else ""
        path = Path(folder, f"{name}{kind}{FORMATS[chosen]}")
    else:
        path = Path(out)
    if path.is_dir():
        raise UsageError(
            f"--out {path}: that is a folder. Name a file in it: {path / name}{FORMATS[chosen]}"
        )
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}. Make it first")
    return path
