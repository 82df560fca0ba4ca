"""What a run and its folder are called."""

from __future__ import annotations

from pathlib import Path, PurePath

from mmengine.config import Config

from ..errors import UsageError
from .reliability import RUN_CONFIG


def title(cfg: Config) -> str:
    """The name of a run's config, without its ending."""
    path = Path(cfg.filename)
    # The config that a run wrote is called the same in each.
    return path.resolve().parent.name if path.name == RUN_CONFIG else path.stem


def default_work_dir(cfg: Config, demo: bool) -> Path:
    """The folder of a run whose config names none."""
    return Path("work_dirs") / (title(cfg) + ("_demo" if demo else ""))


def named_work_dir(name: str, other: str | None) -> str:
    """The folder of a run that was given a name; `other` is one that was named, too.

    Raises:
        UsageError: there is another, or the name is none of a folder.
    """
    if other is not None:
        raise UsageError(f"--name {name} and work_dir {other} both name the folder: name one")
    path = PurePath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"--name is {name!r}, wanted that of a folder below work_dirs; --work-dir names any"
        )
    return str("work_dirs" / path)
