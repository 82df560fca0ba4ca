"""`mmmamba.export`: what the command does, called from Python."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...engine.reliability import refuse_unpickling
from ...exporting.request import make_request
from ...exporting.run import Exported, export_file
from ...inference.opening import choose_device
from ...ops.selective_scan import check_environment
from .subject import find_name, open_subject


def export(
    model: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    size: int | Sequence[int] | None = None,
    dynamic: bool = False,
    batch: int = 1,
    half: bool = False,
    int8: bool = False,
    calibrate: str | os.PathLike[str] | None = None,
    nms: bool = True,
    logits: bool = False,
    out: str | os.PathLike[str] | None = None,
    image: str | os.PathLike[str] | None = None,
    second: str | os.PathLike[str] | None = None,
    device: str | None = None,
    standalone: bool | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    log: Callable[[str], object] | None = None,
) -> Exported:
    """Write a trained model as a file, and compare what it computes with the model.

    `mmmamba.export("work_dirs/demo", dynamic=True).path`

    Args:
        model: a run's folder, a checkpoint in it, a config by path or name, or a backbone's name.
        checkpoint: file or URL; found by itself in a run's folder, and random for a backbone.
        format: "onnx", "openvino", "pt2" or "aoti"; by the ending of `out` if None, else ONNX.
        size: height and width that the file takes, or a side of a square; the config's if None.
        dynamic: the file takes images of any size, and any number of them.
        batch: images that it takes at a time.
        half: its numbers are float16.
        int8: its products are of 8 bits.
        calibrate: what int8 learns the ranges of numbers from: a folder of images, or a config, of
            which the training images are taken.
        nms: a detector's file gives detections; otherwise boxes and scores of all places.
        logits: a segmentor's file gives logits in the place of label maps, a classifier's in the
            place of scores.
        out: the file; in the run's folder, else the current one, by the model's name if None.
        image: a real image that the file is verified on.
        second: its second image, of a model that takes pairs.
        device: that it is verified on, and that aoti compiles for; the CPU if None.
        standalone: pt2 and aoti: without operators of mmmamba, or with them, which are faster and
            want mmmamba where the file is loaded; if None, pt2 has them, and aoti where it must.
        cfg_options: settings that replace the config's, or a backbone's arguments.
        log: is given each line of what is done; the log of mmmamba if None.

    Returns:
        Its path, the report of the comparison, and what the file says of itself. Where
        `report.passed` is false there is no file.

    Raises:
        UsageError: something is missing, unknown, or does not go together, or the model is of a
            kind that cannot be exported.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    # What the command line does before it reads a file.
    refuse_unpickling()
    check_environment()
    target = str(choose_device(device or "cpu"))
    name, folder = find_name(os.fspath(model))
    request = make_request(
        name,
        folder,
        format=format,
        size=size,
        dynamic=dynamic,
        batch=batch,
        half=half,
        int8=int8,
        calibrate=None if calibrate is None else os.fspath(calibrate),
        nms=nms,
        logits=logits,
        standalone=standalone,
        out=None if out is None else os.fspath(out),
        image=None if image is None else os.fspath(image),
        second=None if second is None else os.fspath(second),
        device=target,
    )
    weights = None if checkpoint is None else os.fspath(checkpoint)
    subject = open_subject(os.fspath(model), weights, cfg_options, target)
    say = log or logging.getLogger("mmmamba").info
    if not subject.checkpoint:
        say(f"{subject.config} has random weights: none were named")
    return export_file(subject, request, say)
