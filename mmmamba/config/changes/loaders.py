"""Batch and worker processes of a config's data loaders."""

from __future__ import annotations

from mmengine.config import Config

from ...errors import UsageError
from .record import Changes

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def set_batch(cfg: Config, batch: int, changes: Changes) -> None:
    """Set the images of a training step on one GPU."""
    if batch < 1:
        raise UsageError(f"--batch is {batch}, wanted 1 or more")
    loader = cfg.get("train_dataloader") or {}
    if "batch_size" not in loader:
        raise UsageError(
            "the config has no train_dataloader.batch_size; set what makes its batches by "
            "--cfg-options"
        )
    changes.set(f"--batch {batch}", loader, "batch_size", batch, "train_dataloader")


def images_of_a_step(cfg: Config, gpus: int) -> int:
    """Images of a training step, over all GPUs."""
    return (cfg.get("train_dataloader") or {}).get("batch_size", 1) * gpus


def set_workers(cfg: Config, workers: int, changes: Changes) -> None:
    """Set the processes of each data loader; with 0 data are read in the process that trains."""
    if workers < 0:
        raise UsageError(f"--workers is {workers}, wanted 0 or more")
    flag = f"--workers {workers}"
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        changes.set(flag, loader, "num_workers", workers, name)
        # PyTorch refuses both where there are no workers.
        if workers == 0 and loader.get("persistent_workers"):
            changes.set(flag, loader, "persistent_workers", False, name)
        if workers == 0 and loader.get("prefetch_factor"):
            changes.set(flag, loader, "prefetch_factor", None, name)
