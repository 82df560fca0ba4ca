"""The checkpoint to go on from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from mmmamba.checkpoints import CheckpointError

from ..errors import UsageError
from ..last_checkpoint import read_last
from ..safe_loading import read_weights_only

WANTED = {"meta", "state_dict", "message_hub", "optimizer"}


def go_on(cfg: Config) -> None:
    """Where a config says `resume`, settle and check the file: `load_from`, or the newest whole one of the run.

    A run without checkpoints begins at its start, so that one command both starts and restarts it.

    Raises:
        UsageError: the file is not whole, or none of the run's is.
    """
    if not cfg.get("resume"):
        return
    if cfg.get("load_from") is None:
        cfg.load_from = newest_whole(cfg)
        if cfg.load_from is None:
            cfg.resume = False
            print_log(f"nothing to resume in {cfg.work_dir}: training begins at its start", "current", 30)
    elif "://" not in cfg.load_from:
        check_whole(cfg.load_from)


def newest_whole(cfg: Config) -> str | None:
    """The newest file of a config's run that can be resumed; None if the run has none.

    Looked for in the work dir, in the checkpoint hook's `out_dir` and beside what `last_checkpoint` names. Files that
    are broken are passed over with a line in the log. An address (`s3://`) in `last_checkpoint` is taken as it is.

    Raises:
        UsageError: there are checkpoints, and all of them are broken.
    """
    work_dir = Path(cfg.work_dir)
    named = read_last(work_dir)
    if "://" in named:
        return named
    broken = []
    for path in sorted(_candidates(cfg, work_dir, named), key=lambda p: p.stat().st_mtime_ns, reverse=True):
        fault = _fault(path)
        if fault is None:
            return str(path)
        if fault != UNFIT:
            broken.append(f"{path}: {fault}")
            print_log(f"passed over a checkpoint: {path}: {fault}", "current", 30)
    if broken:
        raise UsageError("there is nothing to resume, each checkpoint is broken:\n" + "\n".join(broken))
    return None


def check_whole(path: str | Path) -> None:
    """Refuse to resume from a file that is not all there or holds weights only.

    Raises:
        UsageError: with what is wrong.
    """
    fault = _fault(Path(path))
    if fault is not None:
        raise UsageError(
            f"--resume {path}: {fault}. Without a path, --resume takes the newest whole one of the work dir"
        )


def _candidates(cfg: Config, work_dir: Path, named: str) -> Iterator[Path]:
    out_dir = ((cfg.get("default_hooks") or {}).get("checkpoint") or {}).get("out_dir")
    folders = [work_dir, Path(named).parent if named else work_dir]
    if out_dir is not None and "://" not in out_dir:
        folders.append(Path(out_dir) / work_dir.resolve().name)
    for folder in {Path(os.path.realpath(folder)) for folder in folders if folder.is_dir()}:
        yield from folder.glob("*.pth")


UNFIT = "it holds no state of a run (optimizer, message hub), only weights"


def _fault(path: Path) -> str | None:
    """What keeps a file from being resumed."""
    try:
        # Reads and checks every byte.
        checkpoint = read_weights_only(str(path), map_location="cpu")
    except CheckpointError as error:
        return str(error)
    return None if checkpoint.keys() >= WANTED else UNFIT
