"""From what a user calls a model to a network with its weights.

That is a run's folder, a checkpoint in it, or a config by path or name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..checkpoints import CheckpointError, read_checkpoint
from ..config.changes import apply_flags
from ..config.find import find_config, weights_of
from ..config.modules import need_mmpretrain
from ..config.open import open_config
from ..engine.preflight import check_fit
from ..engine.reliability import LAST, RUN_CONFIG, find_last, load_whole
from ..errors import UsageError
from ..exporting.example import is_example
from ..exporting.files import format_of
from ..suggest import did_you_mean

logger = logging.getLogger("mmmamba")

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Opened:
    """A network ready to predict, with what it was built from."""

    model: nn.Module
    cfg: Config
    config: Path
    checkpoint: str
    meta: Mapping[str, Any]
    """What the checkpoint says beside the weights."""


def open_model(
    model: str | Path,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    imgsz: int | str | tuple[int, int] | None = None,
) -> Opened:
    """Build the network of a config, with all of its weights, in evaluation mode.

    Args:
        model: a run's folder, a checkpoint in it, or a config by path or name.
        checkpoint: file or URL; found by itself for a run and for a config whose authors published
            weights.
        device: "cuda" where there is one, if None.
        imgsz: size of images, as `apply_flags` takes it; that of the config if None.

    Raises:
        UsageError: no such model, no weights for it, or no such device.
        CheckpointError: the weights cannot be had, or do not fit the network whole.
    """
    # Before anything is built or fetched: a device that is not here is told at once.
    target = choose_device(device)
    config, found = find_files(model)
    cfg = open_config(config, cfg_options)
    for line in apply_flags(cfg, imgsz=imgsz, options=cfg_options):
        logger.info(line)
    settings = model_settings(cfg, config)
    source = str(checkpoint or found or _published(config, cfg))
    if format_of(source) is not None:
        raise UsageError(
            f"{source} is an exported file, which holds its network: name it in the place of the "
            "model, without a config"
        )
    # Before the network is built: a missing file is told sooner.
    held = read_checkpoint(source)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
        # Batch norm over several processes would ask for others, of which there are none.
        network = revert_sync_batchnorm(MODELS.build(settings))
    try:
        load_whole(network, held)
    except CheckpointError as error:
        raise CheckpointError(f"{source} does not fit {config}: {error}") from error
    meta = held.get("meta")
    network = network.to(target).eval()
    check_fit(network)
    return Opened(network, cfg, config, source, meta if isinstance(meta, Mapping) else {})


def model_settings(cfg: Config, name: str | Path) -> dict:
    """The model of a config, as runs build it.

    MMPretrain's configs have the data preprocessor beside the model, where MMEngine's runner finds
    it as well.

    Raises:
        UsageError: there is none, or the library that it is of is missing.
    """
    if cfg.get("model") is None:
        raise UsageError(
            f"{name} describes no model; name the config of a detector, segmentor or classifier"
        )
    if cfg.get("default_scope") == "mmpretrain":
        need_mmpretrain()
    if cfg.get("data_preprocessor") is not None:
        cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)
    return cfg.model


def choose_device(device: str | None) -> torch.device:
    """The device of a name.

    Raises:
        UsageError: it is none, or it is not here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # A GPU by its number, as training takes it.
        chosen = torch.device(f"cuda:{device}" if device.isdecimal() else device)
    except RuntimeError as error:
        raise UsageError(f"{device!r} is no device. Write cpu, cuda or cuda:1") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {device}: PyTorch sees {torch.cuda.device_count()} GPUs here. "
            "Write cpu"
        )
    return chosen


def find_files(model: str | Path) -> tuple[Path, Path | None]:
    """The config of a model, and its checkpoint where a run left one beside it.

    Raises:
        UsageError: neither a run's folder nor a config.
    """
    path = Path(model)
    if format_of(path) is not None:
        raise UsageError(
            f"{path} is an exported file, which mmmamba infer, test and bench open; here the "
            "network itself is needed: name the run, or the config and its checkpoint"
        )
    if path.is_dir():
        checkpoint = _last_checkpoint(path)
        if checkpoint is None:
            raise UsageError(
                f"{path} has no {LAST}: no run has saved a checkpoint there. Name one with "
                "--checkpoint"
            )
        return _config_of_run(path), checkpoint
    if path.suffix in CHECKPOINT_SUFFIXES and path.is_file():
        return _config_of_run(path.parent), path
    try:
        config = find_config(model)
    except UsageError as error:
        runs = [str(note.parent) for note in path.parent.glob(f"*/{LAST}")]
        raise UsageError(f"{error}{did_you_mean(str(path), runs, 3, 'the run ')}") from error
    return config, _last_checkpoint(config.parent)


def _config_of_run(folder: Path) -> Path:
    """The config that a run wrote into its folder.

    Our runs give it a name of its own, MMEngine's that of the user's.
    """
    # The run's own comes first: beside it the user's may lie as well.
    if (folder / RUN_CONFIG).is_file():
        return folder / RUN_CONFIG
    # Exported files have an example beside them.
    configs = [path for path in sorted(folder.glob("*.py")) if not is_example(path)]
    if len(configs) == 1:
        return configs[0]
    found = ", ".join(path.name for path in configs) or "none"
    raise UsageError(
        f"{folder} is not the folder of one run, which holds one config; found: {found}. Name the "
        "config as the model, and its weights with --checkpoint"
    )


def _last_checkpoint(folder: Path) -> Path | None:
    found = find_last(folder)
    if found and Path(os.path.realpath(found)).parent != folder.resolve():
        logger.warning(
            "%s of %s names a checkpoint that is in another folder: %s", LAST, folder, found
        )
    return Path(found) if found else None


def _published(config: Path, cfg: Config) -> str:
    arch = (cfg.model.get("backbone") or {}).get("arch")
    published = weights_of(config, arch) if isinstance(arch, str) else []
    if not published:
        raise UsageError(
            f"{config} has no trained weights that could be found: none are published for it, and "
            f"there is no {LAST} beside it. Name a file or URL with --checkpoint, or give the "
            "folder of a finished run as the model"
        )
    logger.info("%s: its authors' weights, under %s", config.stem, published[0].licence)
    return published[0].url
