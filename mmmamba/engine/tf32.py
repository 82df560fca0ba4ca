"""TF32: products of float32 numbers that a GPU's tensor cores take with 10 bits of mantissa."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config

from ..errors import UsageError
from ..ops.tf32 import float32_products

logger = logging.getLogger("mmmamba")


def choose_tf32(asked: bool | None, device: torch.device, cfg: Config | None = None) -> bool | None:
    """Whether a program takes float32 products in TF32; None where there is no GPU.

    Args:
        asked: by the user.
        cfg: where nothing was asked, its `env_cfg.tf32` decides; else it is on, but for runs that
            are `deterministic`, whose results are to be as exact as they can be.

    Raises:
        UsageError: TF32 was asked for, and there is no GPU.
    """
    if device.type != "cuda":
        if asked:
            raise UsageError(
                f"--tf32 on is for GPUs, and this runs on {device}, whose float32 products are "
                "exact: leave it out"
            )
        return None
    if asked is not None:
        return asked
    deterministic = ((cfg and cfg.get("randomness")) or {}).get("deterministic", False)
    return ((cfg and cfg.get("env_cfg")) or {}).get("tf32", not deterministic)


def record_tf32(cfg: Config, on: bool | None) -> None:
    """Write the choice into a config, with which checkpoints keep it.

    A run that is resumed with another is told so.
    """
    if on is not None:
        cfg.env_cfg = dict(cfg.get("env_cfg") or {}, tf32=on)


@contextmanager
def tf32_products(on: bool | None) -> Iterator[None]:
    """Products and convolutions of float32 numbers on a GPU in TF32, or exact; None: as they are.

    It holds for the process, the backward pass and its threads included, and is taken back.
    """
    if on is None:
        yield
        return
    with float32_products(on):
        logger.info(
            "float32 products on the GPU are %s",
            "in TF32 (--tf32 off: exact)" if on else "exact",
        )
        yield
