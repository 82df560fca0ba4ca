"""The training step of Mask R-CNN on real images of changing sizes, in memory and from files."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from common import DEVICE, now
from mmengine.runner import Runner
from training_step_gpu import build, load_config, some_batches

from .detectors import stepping
from .loads import Load

BATCH, BATCHES = 2, 8
WARM, STEPS = 40, 24
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
    batches = some_batches(cfg, 2 if small else BATCHES)
    model, _ = build(cfg)
    load = stepping(model, cfg, batches)
    loader: Iterator[dict] | None = None

    def files() -> float:
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
        warm, steps = (1, 1) if small else (WARM, STEPS)
        for _ in range(warm):
            batches[0] = next(loader)
            load.step(0)
        start = now()
        for _ in range(steps):
            batches[0] = next(loader)
            load.step(0)
        return (now() - start) / steps * 1e3

    load.files = files
    return load
