"""From an exported file to what `Predictor` takes of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ..config.changes import apply_flags
from ..errors import UsageError
from ..exporting.devices import device_of
from ..exporting.files import check_file
from ..exporting.flags import refuse_flags
from ..exporting.pipelines import own_pipeline
from ..exporting.runtimes import open_runtime
from ..exporting.tasks import MODELS_OF, register_model
from .opening import Opened

logger = logging.getLogger("mmmamba")


def open_file(
    path: str | Path,
    device: str | None = None,
    imgsz: int | str | tuple[int, int] | None = None,
    **flags: Any,
) -> Opened:
    """A model whose network is in a file, with a config made of what the file says of itself.

    Args:
        device: that its runtime uses; by default as `device_of` says.
        imgsz: size of images, of files that take any.
        flags: what else was given, each of which is refused.

    Raises:
        UsageError: no such file, one that cannot be opened, or a flag that means nothing for it.
    """
    file = check_file(path)
    refuse_flags(path, **flags)
    runtime = open_runtime(file, device_of(file, device))
    metadata = runtime.metadata
    if metadata.task not in MODELS_OF:
        raise UsageError(
            f"{path} is an exported backbone, whose maps are no results. Export a detector, "
            "segmentor or classifier; mmmamba bench measures backbones as well"
        )
    scope, kind = register_model(metadata.task)
    described = dict(classes=tuple(metadata.classes), palette=metadata.palette or None)
    cfg = Config(
        dict(
            default_scope=scope,
            test_dataloader=dict(dataset=dict(pipeline=own_pipeline(metadata))),
        )
    )
    if imgsz is not None:
        # What pads to one rectangle is for one size, as files of a fixed size are.
        high, wide = metadata.inputs.pad_to or (0, 0)
        refuse_flags(path, imgsz=imgsz if metadata.inputs.size or high != wide else None)
        for line in apply_flags(cfg, imgsz=imgsz):
            logger.info(line)
    model = MODELS.build(dict(type=kind, path=str(path), runtime=runtime)).eval()
    return Opened(model, cfg, file, str(path), dict(dataset_meta=described))
