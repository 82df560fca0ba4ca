"""What is exported: a run's model, that of a config and a checkpoint, or a backbone by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...config.find import config_name, list_configs
from ...errors import UsageError
from ...exporting.files import format_of
from ...exporting.request import Subject
from ...inference.classes import find_classes
from ...inference.opening import find_files, open_model
from ...models.backbones import create_backbone, list_backbones
from ...suggest import did_you_mean


class Named(NamedTuple):
    """What a file is called by default, and where it goes."""

    name: str
    folder: Path


def is_backbone(model: str) -> bool:
    """Whether a name is that of a backbone; a file or folder of that name comes first."""
    return model in list_backbones() and not Path(model).exists()


def find_name(model: str) -> Named:
    """How a file of a model is called, from what is told before the model is opened.

    Raises:
        UsageError: there is no such model.
    """
    if is_backbone(model):
        return Named(model, Path())
    if format_of(model) is not None:
        raise UsageError(f"{model} is exported already: name the run or the config that it is of")
    if "/" not in model and not Path(model).exists() and not list_configs(model):
        known = [*list_backbones(), *map(config_name, list_configs())]
        raise UsageError(
            f"{model} is neither a run's folder, nor a config, nor a backbone."
            f"{did_you_mean(model, known, 3)}"
        )
    config, found = find_files(model)
    # A run's files lie in its folder, and its config may be called as every run's.
    if found is not None:
        folder = found.parent if Path(model).suffix != ".py" else config.parent
        return Named(folder.resolve().name, folder)
    return Named(config.stem, Path())


def open_subject(
    model: str,
    checkpoint: str | None,
    cfg_options: Mapping[str, Any] | None,
    device: str,
) -> Subject:
    """The network with its weights, in evaluation mode.

    Raises:
        UsageError: no such model, no weights for it, or no such device.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    if is_backbone(model):
        return _backbone(model, checkpoint, cfg_options, device)
    opened = open_model(model, checkpoint, device, cfg_options)
    classes = find_classes(opened.model, opened.cfg, opened.meta)
    return Subject(
        opened.model,
        opened.cfg,
        classes.names,
        tuple(classes.colours),
        str(opened.config),
        opened.checkpoint,
    )


def _backbone(
    name: str, checkpoint: str | None, cfg_options: Mapping[str, Any] | None, device: str
) -> Subject:
    """A backbone with its maps; options are arguments of its class."""
    try:
        network = create_backbone(name, checkpoint, **(cfg_options or {}))
    except TypeError as error:
        raise UsageError(f"--cfg-options of {name}: {error}") from error
    return Subject(network.to(device).eval(), None, (), (), name, checkpoint or "")
