"""The checkpoint to go on from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmmamba.checkpoints import CheckpointError
from mmmamba.checkpoints.loading import COUNTERS
from mmmamba.checkpoints.run_state import read_run_checkpoint

from ....errors import UsageError
from ....printable import printable_names
from ..last_checkpoint import LAST, find_last
from ..safe_loading import read_weights_only
from ..whole_weights import bare_network

WANTED = {"meta", "state_dict", "message_hub", "optimizer"}
UNFIT = "it holds no state of a run (optimizer, message hub), only weights"
WEIGHTS = "state_dict"
MOST = 2**31
"""Iterations and epochs that PyTorch, NumPy and the tables of logs all count."""
SEEDS = 2**32
"""NumPy takes no larger ones."""


def go_on(runner: Runner, begin_with: str | None = None) -> None:
    """Where a run is to be resumed, settle the file: `load_from`, or the newest whole one of the
    run.

    A run without checkpoints begins at its start, so that one command both starts and restarts it.

    Args:
        begin_with: weights of a run that begins at its start.

    Raises:
        UsageError: the file is no checkpoint of a run, or none of the run's files is whole.
    """
    if not runner._resume:
        return
    if (path := runner._load_from) is not None:
        if "://" not in path and (fault := _progress(Path(path))[1]):
            raise UsageError(
                f"--resume {path}: {fault}. Without a path, --resume takes the newest whole one of "
                "the work dir"
            )
        return
    runner._load_from = newest_whole(runner.cfg, weight_names(bare_network(runner.model)))
    if runner._load_from is None:
        runner._resume, runner._load_from = False, begin_with
        start = f"from the weights of {begin_with}" if begin_with else "at its start"
        print_log(f"nothing to resume in {runner.work_dir}: training begins {start}", "current", 30)


def weight_names(model: nn.Module) -> list[str]:
    """What a checkpoint of a network has to hold."""
    return [name for name in model.state_dict() if not re.fullmatch(COUNTERS, name)]


def newest_whole(cfg: Config, names: Collection[str] = ()) -> str | None:
    """The file of a config's run that can be resumed and has done most iterations; None if the run
    has none.

    Looked for in the work dir and in the checkpoint hook's `out_dir`. Files that are broken, or
    lack weights of the model, are passed over with a line in the log. An address (`s3://`) of
    `out_dir` is what `last_checkpoint` says.

    Args:
        names: of the model's weights.

    Raises:
        UsageError: there are checkpoints, and none of them is whole; or there is none, and
            `last_checkpoint` names one of another folder.
    """
    work_dir, out_dir = Path(cfg.work_dir), _out_dir(cfg)
    named = find_last(work_dir)
    if "://" in named:
        if out_dir is None or not named.startswith(
            f"{out_dir.rstrip('/')}/{work_dir.resolve().name}/"
        ):
            raise _of_another(work_dir, named)
        return named
    folders = (
        [work_dir]
        if out_dir is None or "://" in out_dir
        else [work_dir, Path(out_dir) / work_dir.resolve().name]
    )
    own = {Path(os.path.realpath(folder)): None for folder in folders if folder.is_dir()}
    broken, found = {}, []
    for path in sorted(path for folder in own for path in folder.glob("*.pth")):
        iterations, fault = _progress(path)
        if fault and fault != UNFIT:
            broken[path] = fault
        elif not fault:
            # Copies have other times than their originals, so the time decides between equals
            # alone.
            found.append((iterations, _same(path, named), path.stat().st_mtime_ns, path))
    for iterations, is_named, _, path in sorted(found, reverse=True):
        fault = file_fault(path, names)
        if fault is None:
            _tell(broken)
            if named and not is_named:
                print_log(
                    f"{work_dir / LAST} names {named}; {path} is at iteration {iterations}, "
                    "further than any other whole checkpoint of this run, and is gone on from",
                    "current",
                    30,
                )
            return str(path)
        broken[path] = fault
    if broken:
        lines = "\n".join(f"{path}: {fault}" for path, fault in broken.items())
        raise UsageError(
            f"there is nothing to resume, each checkpoint is broken or of another model:\n{lines}"
        )
    if named and Path(named).is_file() and Path(os.path.realpath(named)).parent not in own:
        raise _of_another(work_dir, named)
    return None


def run_fault(held: Mapping[str, Any], names: Collection[str] = ()) -> str | None:
    """What keeps a run from being resumed from what a file holds.

    Args:
        names: of the model's weights.
    """
    if not held.keys() >= WANTED:
        return UNFIT
    meta, weights = held["meta"], held[WEIGHTS]
    if not all(isinstance(part, Mapping) for part in (meta, weights, held["message_hub"])):
        return f"its meta, message_hub or {WEIGHTS} is no dictionary"
    for key in ("epoch", "iter"):
        if type(meta.get(key)) is not int or not 0 <= meta[key] < MOST:
            return f"its meta has no count of what was done: {key} is {meta.get(key)!r:.40}"
    seed = meta.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < SEEDS):
        return f"its meta has {seed!r:.40} for a seed"
    for part in ("log_scalars", "runtime_info", "resumed_keys"):
        held_there = held["message_hub"].get(part)
        if not isinstance(held_there, Mapping) or not all(
            isinstance(key, str) for key in held_there
        ):
            return f"its message_hub has no dictionary {part}"
    if not all(isinstance(name, str) for name in weights):
        return f"its {WEIGHTS} has keys that are no names"
    # As MMEngine reads them.
    there = {name.removeprefix("module.") for name in weights}
    missing = [name for name in names if name not in there and name not in weights]
    if missing:
        return f"it lacks {len(missing)} of the model's {len(names)} weights: {printable_names(missing)}"
    return None


def file_fault(path: str | Path, names: Collection[str] = ()) -> str | None:
    """What keeps a run from being resumed from a file, every byte of which is read."""
    try:
        return run_fault(read_weights_only(str(path), map_location="cpu"), names)
    except CheckpointError as error:
        return str(error)


def _out_dir(cfg: Config) -> str | None:
    return ((cfg.get("default_hooks") or {}).get("checkpoint") or {}).get("out_dir")


def _same(path: Path, named: str) -> bool:
    return bool(named) and os.path.realpath(named) == str(path)


def _tell(broken: Mapping[Path, str]) -> None:
    for path, fault in broken.items():
        print_log(f"passed over a checkpoint: {path}: {fault}", "current", 30)


def _of_another(work_dir: Path, named: str) -> UsageError:
    return UsageError(
        f"there is nothing to resume in {work_dir}, and its {LAST} names a checkpoint of another "
        f"folder: {named}. If this run is to go on from it: --resume {named}. If not, remove "
        f"{work_dir / LAST}"
    )


def _progress(path: Path) -> tuple[int, str | None]:
    """How far a file's run had come, or what keeps it from being resumed, without reading its
    tensors."""
    try:
        held = read_run_checkpoint(path, lazily=True)
    except CheckpointError as error:
        return 0, str(error)
    fault = run_fault(held)
    return 0 if fault else held["meta"]["iter"], fault
