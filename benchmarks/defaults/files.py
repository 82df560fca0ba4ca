"""The training step of Mask R-CNN on real images of changing sizes, in memory and from files."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common import DEVICE, now
from mmengine.runner import Runner
from short_runs import shrink
from training_step_gpu import build, load_config, some_batches

from .detectors import Stepping
from .loads import Load

BATCH, BATCHES = 2, 8
WARM, STEPS = 8, 24
SIZES = 60
"""Steps in which nearly all sizes have come as often as a graph wants."""
WORKERS = 16


def training(run: str, data: Path, small: bool) -> Load:
    """Steps over batches in memory in turn; `files` reads others by workers.

    Args:
        run: of `training_step_gpu.py`.
        data: folder of COCO's annotations/ and train/.
    """
    scale = (96, 64) if small else (1333, 800)
    args = argparse.Namespace(batch=BATCH, scale=scale, data=data.absolute())
    cfg = load_config(run, args)
    if small and run.startswith("ours"):
        shrink(cfg.model)
    batches = some_batches(cfg, 2 if small else BATCHES)
    steps = Stepping(build(cfg)[0], cfg, run.startswith("ours"))
    load = steps.load(batches)
    loader: Iterator[dict] | None = None

    def files(graphs: bool) -> float:
        nonlocal loader
        workers = 0 if DEVICE == "cpu" else WORKERS
        if workers and shutil.disk_usage("/dev/shm").free < 2**32:
            raise RuntimeError("workers want 4 GiB of shared memory in /dev/shm for their images")
        if loader is None:
            cfg.train_dataloader.update(
                num_workers=workers,
                persistent_workers=workers > 0,
                sampler=dict(type="InfiniteSampler", shuffle=True),
            )
            loader = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
        warm, count = (1, 1) if small else (SIZES if graphs else WARM, STEPS)
        for batch in islice(loader, warm):
            steps.step(batch)
        start = now()
        for batch in islice(loader, count):
            steps.step(batch)
        return (now() - start) / count * 1e3

    load.files = files
    return load
