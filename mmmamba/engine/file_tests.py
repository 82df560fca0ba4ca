"""Tests of exported files on the data of a config."""

from __future__ import annotations

import logging

from mmengine.config import Config
from mmengine.runner import Runner

from ..errors import UsageError
from ..exporting.files import check_file
from ..exporting.pipelines import fit_tests
from ..exporting.runtimes import read_metadata
from ..exporting.tasks import MODELS_OF, register_model
from ..printable import printable_names
from .open_run import keep_changes


def use_file(cfg: Config, path: str, device: str) -> None:
    """Put an exported file in the place of a config's model, and images that it takes before it.

    Raises:
        UsageError: no such file, or none of what the config tests.
    """
    metadata = read_metadata(check_file(path))
    scope, kind = MODELS_OF.get(metadata.task, (None, ""))
    if scope != cfg.get("default_scope"):
        raise UsageError(
            f"{path} is a file for {metadata.task}, and {cfg.filename} tests with "
            f"{cfg.get('default_scope')}: name the config that it was exported of"
            + (f" ({metadata.origin.config})" if metadata.origin.config else "")
        )
    register_model(metadata.task)
    cfg.model = dict(type=kind, path=path, device=device)
    # MMPretrain's configs have it beside the model; a file prepares images by itself.
    cfg.pop("data_preprocessor", None)
    lines = []
    if cfg.get("custom_hooks"):
        # They average or change weights, of which a file has none.
        lines.append(f"custom_hooks are for training and networks: left out for {path}")
        cfg.custom_hooks = []
    if metadata.inputs.size is not None:
        lines += fit_tests(cfg, metadata.inputs.size, path)
    keep_changes(cfg, lines)


def check_classes(runner: Runner, path: str) -> None:
    """Compare a file's classes with those of the data that it is tested on.

    Raises:
        UsageError: they are not as many, or in another order.
    """
    there = tuple(runner.test_loop.dataloader.dataset.metainfo.get("classes") or ())
    ours = runner.model.metadata.classes
    if not there or not ours or there == ours:
        return
    told = f"{path} knows {printable_names(ours, 5)}, the data {printable_names(there, 5)}"
    if len(there) != len(ours) or set(there) == set(ours):
        raise UsageError(
            f"{told}: wanted the same classes in the same order. Name the config that the file was "
            "exported of"
        )
    runner.logger.log(logging.WARNING, "%s: they are compared by their numbers", told)
