"""The checkpoint to go on from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from ....checkpoints import CheckpointError
from ....checkpoints.last_checkpoint import LAST, find_last
from ....checkpoints.loading import COUNTERS
from ....checkpoints.run_state import read_run_checkpoint
from ....errors import UsageError
from ....printable import printable_names
from ...bare_model import bare_model
from ..safe_loading import read_weights_only

WANTED = {"meta", "state_dict", "message_hub", "optimizer"}
UNFIT = "it holds no state of a run (optimizer, message hub), only weights"
WEIGHTS = "state_dict"
HUB = ("log_scalars", "runtime_info", "resumed_keys")
"""Dictionaries of a message hub."""
MOST = 2**31
"""Iterations and epochs that PyTorch, NumPy and the tables of logs all count."""
SEEDS = 2**32
"""NumPy takes no larger ones."""


def go_on(runner: Runner, begin_with: str | None = None) -> None:
    """Settle the file that a run is resumed from: `load_from`, or the newest whole one of the run.

    A run without checkpoints begins at its start, so that one command both starts and restarts it.

    Args:
        begin_with: weights of a run that begins at its start.

    Raises:
        UsageError: the file is no checkpoint of a run, or none of the run's files is whole.
    """
    if not runner._resume:
        return
    if runner._load_from is not None:
        _check_named(runner._load_from)
        return
    runner._load_from = newest_whole(runner.cfg, weight_names(bare_model(runner.model)))
    if runner._load_from is None:
        # Told to resume without a file, MMEngine would take what `last_checkpoint` names, unseen.
        runner._resume, runner._load_from = False, begin_with
        start = f"from the weights of {begin_with}" if begin_with else "at its start"
        print_log(f"nothing to resume in {runner.work_dir}: training begins {start}", "current", 30)


def _check_named(path: str) -> None:
    """Raises UsageError where a file was named to be resumed and cannot be."""
    if "://" in path:
        return
    fault = _progress(Path(path)).fault
    if fault is not None:
        raise UsageError(
            f"--resume {path}: {fault}. Without a path, --resume takes the newest whole one of the "
            "work dir"
        )


def weight_names(model: nn.Module) -> list[str]:
    """What a checkpoint of a network has to hold."""
    return [name for name in model.state_dict() if not re.fullmatch(COUNTERS, name)]


def newest_whole(cfg: Config, names: Collection[str] = ()) -> str | None:
    """The file of a config's run that can be resumed and has done most iterations, if it has any.

    Looked for in the work dir and in the checkpoint hook's `out_dir`. Files that are broken, or
    lack weights of the model, are passed over with a line in the log. Where `out_dir` is an address
    (`s3://`), the file is what `last_checkpoint` says.

    Args:
        names: of the model's weights.

    Raises:
        UsageError: there are checkpoints, and none of them is whole; or there is none, and
            `last_checkpoint` names one of another folder.
    """
    work_dir = Path(cfg.work_dir)
    named = find_last(work_dir)
    if "://" in named:
        _check_address(cfg, named)
        return named
    folders = _folders(cfg)
    files = sorted(path for folder in folders for path in folder.glob("*.pth"))
    candidates, broken = _candidates(files, named)
    # Each is read whole now, byte by byte: the newest first, and usually that one alone.
    for candidate in candidates:
        fault = file_fault(candidate.path, names)
        if fault is not None:
            broken[candidate.path] = fault
            continue
        _tell(broken)
        if named and not candidate.is_named:
            print_log(
                f"{work_dir / LAST} names {named}; {candidate.path} is at iteration "
                f"{candidate.iterations}, further than any other whole checkpoint of this run, and "
                "is gone on from",
                "current",
                30,
            )
        return str(candidate.path)
    if broken:
        lines = "\n".join(f"{path}: {fault}" for path, fault in broken.items())
        raise UsageError(
            f"there is nothing to resume, each checkpoint is broken or of another model:\n{lines}"
        )
    # The folder was copied without its checkpoints: whose run this is, only the user knows.
    if named and Path(named).is_file() and Path(os.path.realpath(named)).parent not in folders:
        raise _of_another(work_dir, named)
    return None


class _Candidate(NamedTuple):
    """A checkpoint that may be gone on from. They compare as they are preferred, the best last."""

    iterations: int
    is_named: bool
    """By `last_checkpoint`."""
    changed: int
    """When, in ns. Copies have other times than their originals: it decides among equals alone."""
    path: Path


class _Progress(NamedTuple):
    """What a file says of its run without its tensors being read."""

    iterations: int
    fault: str | None
    """What keeps the run from being resumed."""


def _candidates(files: Iterable[Path], named: str) -> tuple[list[_Candidate], dict[Path, str]]:
    """Checkpoints of runs among files, the best first, and what is wrong with broken ones.

    Files of weights alone (`best_….pth`, published ones) are neither.
    """
    candidates, broken = [], {}
    for path in files:
        iterations, fault = _progress(path)
        if fault is None:
            # Compared as text: the folders' paths are real ones, without links.
            is_named = bool(named) and os.path.realpath(named) == str(path)
            changed = path.stat().st_mtime_ns
            candidates.append(_Candidate(iterations, is_named, changed, path))
        elif fault != UNFIT:
            broken[path] = fault
    return sorted(candidates, reverse=True), broken


def _progress(path: Path) -> _Progress:
    try:
        held = read_run_checkpoint(path, lazily=True)
    except CheckpointError as error:
        return _Progress(0, str(error))
    fault = run_fault(held)
    return _Progress(0 if fault else held["meta"]["iter"], fault)


def _folders(cfg: Config) -> list[Path]:
    """Where a run keeps checkpoints, as far as there are such folders."""
    work_dir, out_dir = Path(cfg.work_dir), _out_dir(cfg)
    folders = [work_dir]
    if out_dir is not None and "://" not in out_dir:
        # MMEngine's hook makes a folder of the work dir's name there.
        folders.append(Path(out_dir) / work_dir.resolve().name)
    there = [Path(os.path.realpath(folder)) for folder in folders if folder.is_dir()]
    # Each once, the work dir first: `out_dir` may lead to the same place.
    return [*dict.fromkeys(there)]


def _out_dir(cfg: Config) -> str | None:
    hooks = cfg.get("default_hooks") or {}
    return (hooks.get("checkpoint") or {}).get("out_dir")


def _check_address(cfg: Config, named: str) -> None:
    """Raises UsageError where `last_checkpoint` has an address that is not below `out_dir`."""
    work_dir, out_dir = Path(cfg.work_dir), _out_dir(cfg)
    own = None if out_dir is None else f"{out_dir.rstrip('/')}/{work_dir.resolve().name}/"
    if own is None or not named.startswith(own):
        raise _of_another(work_dir, named)


def run_fault(held: Mapping[str, Any], names: Collection[str] = ()) -> str | None:
    """What keeps a run from being resumed from what a file holds.

    Args:
        names: of the model's weights.
    """
    if not held.keys() >= WANTED:
        return UNFIT
    meta, weights, hub = held["meta"], held[WEIGHTS], held["message_hub"]
    if not all(isinstance(part, Mapping) for part in (meta, weights, hub)):
        return f"its meta, message_hub or {WEIGHTS} is no dictionary"
    return _meta_fault(meta) or _hub_fault(hub) or _weights_fault(weights, names)


def _meta_fault(meta: Mapping) -> str | None:
    for key in ("epoch", "iter"):
        done = meta.get(key)
        # Shown in 40 characters: a file may hold anything here, of any length.
        if not _counts(done, MOST):
            return f"its meta has no count of what was done: {key} is {done!r:.40}"
    seed = meta.get("seed")
    if seed is not None and not _counts(seed, SEEDS):
        return f"its meta has {seed!r:.40} for a seed"
    return None


def _counts(value: Any, end: int) -> bool:
    """Whether it is a whole number from 0 on, and no truth value."""
    return type(value) is int and 0 <= value < end


def _hub_fault(hub: Mapping) -> str | None:
    for name in HUB:
        part = hub.get(name)
        if not isinstance(part, Mapping) or not all(isinstance(key, str) for key in part):
            return f"its message_hub has no dictionary {name}"
    return None


def _weights_fault(weights: Mapping, names: Collection[str]) -> str | None:
    if not all(isinstance(name, str) for name in weights):
        return f"its {WEIGHTS} has keys that are no names"
    # As MMEngine reads them.
    there = {name.removeprefix("module.") for name in weights}
    missing = [name for name in names if name not in there and name not in weights]
    if missing:
        return (
            f"it lacks {len(missing)} of the model's {len(names)} weights: "
            f"{printable_names(missing)}"
        )
    return None


def file_fault(path: str | Path, names: Collection[str] = ()) -> str | None:
    """What keeps a run from being resumed from a file, every byte of which is read."""
    try:
        return run_fault(read_weights_only(str(path), map_location="cpu"), names)
    except CheckpointError as error:
        return str(error)


def _tell(broken: Mapping[Path, str]) -> None:
    for path, fault in broken.items():
        print_log(f"passed over a checkpoint: {path}: {fault}", "current", 30)


def _of_another(work_dir: Path, named: str) -> UsageError:
    return UsageError(
        f"there is nothing to resume in {work_dir}, and its {LAST} names a checkpoint of another "
        f"folder: {named}. If this run is to go on from it: --resume {named}. If not, remove "
        f"{work_dir / LAST}"
    )
