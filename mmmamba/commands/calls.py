"""`mmmamba.train` and `mmmamba.test`: what the commands of these names do, called from Python."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..engine import runs
from ..engine.naming import named_work_dir
from ..engine.outcomes import Tested, Trained
from ..engine.reliability import find_last, nothing_to_save, refuse_unpickling
from ..errors import UsageError
from ..exporting.files import format_of
from ..inference.opening import find_files
from ..ops.selective_scan import check_environment
from ..suggest import did_you_mean
from .new.create import default_name, new, parts_of
from .run_arguments import TRAINING

OPTIONS = "cfg_options"
"""What callers name the options of `open_run`, as `Predictor` does."""
OF_TRAINING = {*TRAINING, "amp"}
"""What of `open_run` changes nothing in a test."""


def train(
    config: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    backbone: str | None = None,
    head: str | None = None,
    **keywords: Any,
) -> Trained:
    """Train a model, as `mmmamba train` does.

    `mmmamba.train("mine.py", cfg_options={"train_cfg.max_epochs": 3})`, or on a folder of data
    without a config: `mmmamba.train(backbone="vmamba_t", head="rtmdet", data="cells")`.

    Args:
        config: a config, or the name of one that comes with mmmamba.
        data: what `mmmamba.new` takes; the config is written into the run's folder then.
        backbone, head: with `data`, in the place of a config.
        **keywords: those of the command, named as there: `work_dir`, `resume="auto"`, `graphs`, ….
            `cfg_options` replaces values of the config by dotted key.

    Raises:
        UsageError: something is missing, unknown, or does not go together.
        NonFiniteError: a loss or the state of the run is not finite.
    """
    _prepare()
    opening, running = _split(train, keywords)
    if data is not None:
        config = _config_on(data, config, backbone, head, opening)
    elif backbone or head:
        raise UsageError("backbone and head are for data=, the folder to train on: name it")
    if config is None:
        raise UsageError("name a config, or backbone, head and data")
    # Signals end a training with a code of its own, before the loop hears them as after.
    with nothing_to_save():
        return runs.train(runs.open_run(_text(config), **opening), **running)


def test(
    model: str | os.PathLike[str], checkpoint: str | os.PathLike[str] | None = None, **keywords: Any
) -> Tested:
    """Score a checkpoint or an exported file, as `mmmamba test` does.

    Args:
        model: a run's folder, what `train` returned, a checkpoint in such a folder, or a config.
        checkpoint: file or URL, found by itself in a run's folder; or an exported file.
        **keywords: those of the command, named as there: `out`, `show_dir`, `tta`, `verify`, ….

    Raises:
        UsageError: something is missing, unknown, or does not go together.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    _prepare()
    opening, running = _split(test, keywords)
    name: str | Path = _text(model)
    found = None
    if format_of(name) is not None:
        raise UsageError(
            f"{name} says nothing of data to test it on: mmmamba test CONFIG {name}, with the "
            "config or the run that it was exported of"
        )
    # A config stays as it is named: its own folder is none of a run.
    if Path(name).exists() and Path(name).suffix != ".py":
        name, found = find_files(name)
    cfg = runs.open_run(name, **opening)
    if opening.get("demo"):
        # A demo is for looking at.
        running.setdefault("show_dir", str(Path(cfg.work_dir) / "predictions"))
        found = found or find_last(cfg.work_dir) or None
        if not (checkpoint or found):
            raise UsageError(
                f"no checkpoint in {cfg.work_dir}; train first: mmmamba train {name} --demo"
            )
    if not (checkpoint or found):
        raise UsageError(
            f"name a checkpoint to test: mmmamba test {name} CHECKPOINT, or the folder of a run in "
            "place of its config"
        )
    return runs.test(cfg, _text(checkpoint or found), **running)


def _prepare() -> None:
    """What the command line does before it reads a file."""
    refuse_unpickling()
    check_environment()


def _text(path: str | os.PathLike[str]) -> str:
    return os.fspath(path)


def _split(
    call: Callable[..., Any], keywords: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of a call for `open_run` and for the function of `engine.runs` behind it.

    Raises:
        UsageError: one is unknown.
    """
    known = inspect.signature(call).parameters
    for name in keywords:
        if name not in known:
            raise UsageError(
                f"mmmamba.{call.__name__}() takes no {name!r}.{did_you_mean(name, known, 2)} "
                f"It takes {', '.join(known)}"
            )
    behind = {parameter.name for parameter in _behind(runs.open_run)}
    opening, running = {}, {}
    for name, value in keywords.items():
        # Paths become part of configs, which hold text.
        plain = os.fspath(value) if isinstance(value, os.PathLike) else value
        (opening if name in behind else running)[name] = plain
    if OPTIONS in opening:
        opening["options"] = opening.pop(OPTIONS)
    return opening, running


def _behind(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function behind a call that its caller may name."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "options":
            parameters.append(parameter.replace(name=OPTIONS, kind=parameter.KEYWORD_ONLY))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            parameters.append(parameter)
    return parameters


def _whole_signature(call: Callable[..., Any], *functions: Callable[..., Any]) -> inspect.Signature:
    """A call's own parameters and those of the functions behind it."""
    signature = inspect.signature(call)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    for function in functions:
        parameters += _behind(function)
    return signature.replace(parameters=parameters)


def _without(signature: inspect.Signature, names: set[str]) -> inspect.Signature:
    return signature.replace(
        parameters=[p for p in signature.parameters.values() if p.name not in names]
    )


def _config_on(
    data: str | os.PathLike[str],
    config: str | os.PathLike[str] | None,
    backbone: str | None,
    head: str | None,
    opening: dict[str, Any],
) -> Path:
    """Write the config of a backbone and a head on a folder of data into the run's folder."""
    if config is not None:
        if backbone or head:
            raise UsageError(
                f"backbone and head are named, and a config: {config}. Leave one or the other out"
            )
        backbone, head = parts_of(_text(config))
    elif not (backbone and head):
        raise UsageError(
            "data= wants a config that comes with mmmamba, or backbone= and head=, such as "
            'backbone="vmamba_t", head="rtmdet"'
        )
    stem = default_name(backbone, head, data)
    name, folder = opening.pop("name", None), opening.get("work_dir")
    if name is not None:
        folder = named_work_dir(name, folder)
    opening["work_dir"] = folder = folder or f"work_dirs/{stem}"
    # Written by this call each time: an own config is one to name in its place.
    return new(backbone, head, data, Path(folder, f"{stem}.py"), force=True).path


# What `help()` and a notebook show: the keywords come from the functions that take them.
train.__signature__ = _whole_signature(train, runs.open_run, runs.train)
test.__signature__ = _without(_whole_signature(test, runs.open_run, runs.test), OF_TRAINING)
