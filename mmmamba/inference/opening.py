"""From what a user calls a model (a run's folder, a config, a run's checkpoint) to a network with its weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..checkpoints import CheckpointError, KeyMap, load_weights, read_checkpoint
from ..checkpoints.unwrap import unwrap
from ..engine.errors import UsageError
from ..engine.options import check_options
from ..engine.preflight import check_fit
from ..engine.reading import read_config
from ..models.strict_loading import StrictLoading
from ..suggest import did_you_mean
from ..zoo.configs import find_config, weights_of

logger = logging.getLogger("mmmamba")

LAST = "last_checkpoint"
"""The file in which MMEngine's checkpoint hook notes the latest checkpoint of a run."""
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")
WHOLE = KeyMap(under=("state_dict", "model"), whole=True, may_be_surplus=(r"data_preprocessor\..*",))


class Heads(nn.ModuleDict):
    """What a detector or segmentor has beside its backbone."""


@dataclass(frozen=True)
class Opened:
    """A network ready to predict, what it was built from, and what its checkpoint says beside the weights."""

    model: nn.Module
    cfg: Config
    config: Path
    checkpoint: str
    meta: Mapping[str, Any]


def open_model(
    model: str | Path,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Opened:
    """Build the network of a config, with all of its weights, in evaluation mode.

    Args:
        model: a run's folder, a checkpoint in it, or a config by path or name.
        checkpoint: file or URL; found by itself for a run and for a config whose authors published weights.
        device: "cuda" where there is one, if None.

    Raises:
        UsageError: no such model, no weights for it, or no such device.
        CheckpointError: the weights cannot be had, or do not fit the network whole.
    """
    target = choose_device(device)
    config, found = find_files(model)
    cfg = read_config(config)
    if cfg_options:
        check_options(cfg, dict(cfg_options))
        cfg.merge_from_dict(dict(cfg_options))
    if cfg.get("model") is None:
        raise UsageError(f"{config} describes no model; name the config of a detector or segmentor")
    source = str(checkpoint or found or _published(config, cfg))
    held = read_checkpoint(source)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
        network = revert_sync_batchnorm(MODELS.build(cfg.model))
    try:
        load_whole(network, held)
    except CheckpointError as error:
        raise CheckpointError(f"{source} does not fit {config}: {error}") from error
    meta = held.get("meta")
    network = network.to(target).eval()
    check_fit(network)
    return Opened(network, cfg, config, source, meta if isinstance(meta, Mapping) else {})


def choose_device(device: str | None) -> torch.device:
    """The device of a name.

    Raises:
        UsageError: it is none, or it is not here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"{device!r} is no device. Write cpu, cuda or cuda:1") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no device {device}: PyTorch sees {torch.cuda.device_count()} GPUs here. Write cpu")
    return chosen


def find_files(model: str | Path) -> tuple[Path, Path | None]:
    """The config of a model, and its checkpoint where a run left one beside it.

    Raises:
        UsageError: neither a run's folder nor a config.
    """
    path = Path(model)
    if path.is_dir():
        checkpoint = _last_checkpoint(path)
        if checkpoint is None:
            raise UsageError(f"{path} has no {LAST}: no run has saved a checkpoint there. Name one with --checkpoint")
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
    """The config that MMEngine wrote into a run's folder."""
    configs = sorted(folder.glob("*.py"))
    if len(configs) == 1:
        return configs[0]
    found = ", ".join(path.name for path in configs) or "none"
    raise UsageError(
        f"{folder} is not the folder of one run, which holds one config; found: {found}. Name the config as the model, "
        "and its weights with --checkpoint"
    )


def _last_checkpoint(folder: Path) -> Path | None:
    note = folder / LAST
    if not note.is_file():
        return None
    path = Path(note.read_text().strip())
    # A run's folder may have been moved since.
    return path if path.is_file() else folder / path.name


def _published(config: Path, cfg: Config) -> str:
    arch = (cfg.model.get("backbone") or {}).get("arch")
    published = weights_of(config, arch) if isinstance(arch, str) else []
    if not published:
        raise UsageError(
            f"{config} has no trained weights that could be found: none are published for it, and there is no {LAST} "
            "beside it. Name a file or URL with --checkpoint, or give the folder of a finished run as the model"
        )
    logger.info("%s: its authors' weights, under %s", config.stem, published[0].licence)
    return published[0].url


def load_whole(model: nn.Module, held: Mapping) -> None:
    """Load every weight of a network from what its checkpoint holds; backbones under any name their authors gave.

    Raises:
        CheckpointError: a weight is missing, left over or of another shape.
    """
    if isinstance(model, StrictLoading):
        model.load_weights(held)
        return
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, StrictLoading):
        load_weights(model, held, family=WHOLE)
        return
    state = unwrap(held, WHOLE).state
    others = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}
    if not others or len(others) == len(state):
        raise CheckpointError(
            f"it holds {', '.join(list(state)[:3])}, …: a backbone alone. Give the checkpoint of a trained "
            f"{type(model).__name__}"
        )
    backbone.load_weights(held)
    load_weights(Heads({n: child for n, child in model.named_children() if n != "backbone"}), others, family=WHOLE)
