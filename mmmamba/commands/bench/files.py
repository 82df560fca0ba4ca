"""Exported files beside models in PyTorch: what they take, and the call that is timed."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from ...errors import UsageError
from ...exporting.describing import default_size
from ...exporting.devices import device_of
from ...exporting.files import check_file, format_of
from ...exporting.metadata import Inputs
from ...exporting.runtimes import Runtime, open_runtime, read_metadata
from ...exporting.tasks import register_model
from .subjects import RunBy, Subject
from .task import DIVISOR, Task

USUAL = (800, 1333)
"""Height and width of images where neither a flag nor a file says them."""


@dataclass(frozen=True)
class FileModel:
    """An exported file and what it takes."""

    path: str
    inputs: Inputs


class Shape(NamedTuple):
    """The images that everything is measured on."""

    height: int
    width: int
    batch: int
    divisor: int
    """Sides are padded to multiples of it."""


def find_files(names: Sequence[str]) -> list[FileModel]:
    """The exported files among the names of models, each of which can be opened.

    Raises:
        UsageError: one cannot.
    """
    paths = [name for name in names if format_of(name) is not None]
    return [FileModel(path, read_metadata(check_file(path)).inputs) for path in paths]


def shape_of_all(
    files: Sequence[FileModel], size: tuple[int, int] | None, batch: int | None
) -> Shape:
    """The size and number of images that all models can take.

    Args:
        size, batch: that were asked for.

    Raises:
        UsageError: a file takes no images of that size or number.
    """
    for file in files:
        taken = file.inputs.size
        size = size or taken
        if taken is not None and taken != size:
            raise UsageError(
                f"{file.path} takes images of {_shown(taken)}, and these are {_shown(size)}: "
                f"--size {_shown(taken)}, or export it with --dynamic"
            )
        batch = batch or file.inputs.batch
        if file.inputs.batch not in (None, batch):
            raise UsageError(
                f"{file.path} takes {file.inputs.batch} images at a time, and these are {batch}: "
                f"--batch {file.inputs.batch}, or export it with --dynamic"
            )
    # Padding would make images of another size than a file takes.
    is_fixed = any(file.inputs.size for file in files)
    return Shape(*(size or USUAL), batch or 1, 1 if is_fixed else DIVISOR)


def size_of_classifiers(configs: Sequence[Config] | None) -> tuple[int, int] | None:
    """The size that classifiers are tested at, of the first; None if there are other models.

    Args:
        configs: None if models have none.
    """
    if not configs or any(cfg.get("default_scope") != "mmpretrain" for cfg in configs):
        return None
    return default_size(configs[0]).size


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def file_subject(path: str, device: str | None, task: Task) -> Subject:
    """A file in its runtime, up to results as the library of its task has them.

    Args:
        device: that was asked for.
    """
    threads = torch.get_num_threads()
    runtime = open_runtime(path, device_of(path, device), threads)
    run_by = RunBy(
        runtime.name,
        runtime.metadata.precision,
        Path(path).stat().st_size / 2**20 + _weights_beside(path),
        threads,
    )
    images = torch.randn(task.batch, runtime.metadata.inputs.channels, *task.padded)
    model, call = _results(path, runtime, images)
    return Subject(path, model, call, run_by)


def _weights_beside(path: str) -> float:
    """MiB of the second file that OpenVINO's models have."""
    weights = Path(path).with_suffix(".bin")
    return weights.stat().st_size / 2**20 if Path(path).suffix == ".xml" else 0.0


def _results(path: str, runtime: Runtime, images: torch.Tensor) -> tuple[nn.Module, Any]:
    """What holds the call that is timed, and the call."""
    if runtime.metadata.task == "backbone":
        arrays = dict(images=images.numpy())
        return nn.Identity(), lambda: runtime.run(arrays)
    library, kind = register_model(runtime.metadata.task)
    model = MODELS.build(dict(type=kind, path=path, runtime=runtime)).eval()
    size = tuple(images.shape[2:])
    meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    sample = _sample_of(library)
    samples = [sample(metainfo=meta) for _ in images]
    return model, lambda: model.predict(images, deepcopy(samples))


def _sample_of(library: str) -> type:
    """The class of a library's data samples."""
    if library == "mmdet":
        from mmdet.structures import DetDataSample

        return DetDataSample
    if library == "mmseg":
        from mmseg.structures import SegDataSample

        return SegDataSample
    from mmpretrain.structures import DataSample

    return DataSample
