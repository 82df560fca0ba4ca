"""The rows: what is measured beside what, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import backbones, detectors, files
from .loads import Load

RATIO, MEMORY, LATER = 1.25, 25, 2.0
"""Wanted of all of ours: wall over GPU time, percent more memory, seconds to wait at first."""


@dataclass(frozen=True)
class Case:
    """A row.

    Args:
        group: of the table.
        model: what the page calls it.
        what: images, and what is done with them.
        make: the load; its argument says that it is to be small.
        peer: the row of the model that it is compared with.
        ms: wanted at most of a step, from files where it reads them.
        gpu: wanted at most of its time on the GPU.
        times: how often as fast as the peer is wanted.
        ours: a row with and without graphs; else a peer's, as it is.
    """

    group: str
    model: str
    what: str
    make: Callable[[bool], Load]
    peer: str = ""
    ms: float | None = None
    gpu: float | None = None
    times: float | None = None
    ours: bool = True


def all_cases(data: Path) -> dict[str, Case]:
    """The rows by name, a peer before those that are compared with it.

    Args:
        data: folder of COCO's annotations/ and train/.
    """
    return _backbones() | _passes() | _masks() | _boxes() | _steps() | _files(data)


def _backbones() -> dict[str, Case]:
    what = "1 x 224 x 224, prediction, float16"
    cases = {
        f"{name}-1": Case("backbones", title, what, partial(backbones.prediction, name), ours=False)
        for name, title in (("swin_t", "Swin-T (timm)"), ("resnet50", "ResNet-50 (timm)"))
    }
    for name, title, ms in (
        ("vmamba_t", "VMamba-T", 1.4),
        ("mambavision_t", "MambaVision-T", 1.4),
        ("efficientvmamba_t", "EfficientVMamba-T", 1.4),
        ("vim_t", "Vim-T", 2.3),
        ("mobilemamba_b1", "MobileMamba-B1", 2.3),
        ("localvmamba_t", "LocalVMamba-T", 2.3),
        ("mamba_yolo_t", "Mamba YOLO-T, backbone", 2.3),
    ):
        make = partial(backbones.prediction, name)
        cases[f"{name}-1"] = Case("backbones", title, what, make, "swin_t-1", ms)
    return cases


def _passes() -> dict[str, Case]:
    what = "128 x 224 x 224, training pass"

    def make(name: str) -> Callable[[bool], Load]:
        return partial(backbones.training, name, (128, 224, 224), True)

    cases = {"swin_t-128": Case("passes", "Swin-T (timm)", what, make("swin_t"), ours=False)}
    for name, title, ms in (
        ("vmamba_t", "VMamba-T", 46),
        ("mambavision_t", "MambaVision-T", 27),
        ("vim_t", "Vim-T", None),
        ("mobilemamba_b1", "MobileMamba-B1", None),
        ("efficientvmamba_t", "EfficientVMamba-T", None),
    ):
        cases[f"{name}-128"] = Case("passes", title, what, make(name), "swin_t-128", ms)
    cases["vmamba_t-800"] = Case(
        "passes",
        "VMamba-T, maps",
        "8 x 800 x 1344, training pass",
        partial(backbones.training, "vmamba_t", (8, 800, 1344), False),
        # 0.85 of the 61.2 ms that it took when that was wanted.
        gpu=52.0,
    )
    return cases


def _masks() -> dict[str, Case]:
    cases = {}
    for dtype in (torch.float16, torch.float32):
        form = str(dtype).removeprefix("torch.")
        what = f"1 x 800 x 1344 to boxes and masks, {form}"

        def make(name: str, dtype: torch.dtype = dtype) -> Callable[[bool], Load]:
            return partial(detectors.prediction, f"mask_rcnn_{name}", (800, 1344), dtype)

        peer, title = f"mask_rcnn_swin_t-{form}", "Mask R-CNN, Swin-T (mmdet)"
        cases[peer] = Case("masks", title, what, make("swin_t"), ours=False)
        wanted: dict[str, Any] = dict(ms=10, times=3.5) if dtype == torch.float16 else {}
        cases[f"mask_rcnn_vmamba_t-{form}"] = Case(
            "masks", "Mask R-CNN, VMamba-T", what, make("vmamba_t"), peer, **wanted
        )
        cases[f"mask_rcnn_mambavision_t-{form}"] = Case(
            "masks", "Mask R-CNN, MambaVision-T", what, make("mambavision_t"), peer
        )
    return cases


def _boxes() -> dict[str, Case]:
    what = "1 x 640 x 640 to boxes, float16"

    def make(name: str) -> Callable[[bool], Load]:
        return partial(detectors.prediction, name, (640, 640), torch.float16)

    return {
        "rtmdet_s-1": Case("boxes", "RTMDet-S (mmdet)", what, make("rtmdet_s"), ours=False),
        "mamba_yolo_t-640": Case(
            "boxes", "Mamba YOLO-T", what, make("mamba_yolo_t"), "rtmdet_s-1", ms=4, times=2
        ),
    }


def _steps() -> dict[str, Case]:
    what = "8 x 640 x 640, training step"
    cases = {}
    for name, title, ms, times in (
        ("rtmdet_s", "RTMDet-S (mmdet)", None, None),
        ("yolox_s", "YOLOX-S (mmdet)", None, None),
        ("vmamba_t_rtmdet", "VMamba-T, RTMDet's head", 50, 2),
        ("vmamba_t_yolox", "VMamba-T, YOLOX's head", 50, 2),
        ("vmamba_t_dfl", "VMamba-T, DFL head", 50, 2),
        ("mamba_yolo_t", "Mamba YOLO-T", 42, None),
    ):
        make, ours = partial(detectors.training, name), ms is not None
        peer = "rtmdet_s-8" if ours else ""
        cases[f"{name}-8"] = Case("steps", title, what, make, peer, ms, times=times, ours=ours)
    return cases


def _files(data: Path) -> dict[str, Case]:
    what = "2 x 1333 x 800 of changing sizes, training step from files"

    def make(run: str) -> Callable[[bool], Load]:
        return partial(files.training, run, data)

    theirs = make("mmdet, Swin-T")
    cases = {
        "mask_rcnn_swin_t-2": Case("files", "Mask R-CNN, Swin-T (mmdet)", what, theirs, ours=False)
    }
    cases["mask_rcnn_vmamba_t-2"] = Case(
        "files",
        "Mask R-CNN, VMamba-T",
        what,
        make("ours, VMamba-T"),
        "mask_rcnn_swin_t-2",
        ms=50,
        times=4,
    )
    return cases
