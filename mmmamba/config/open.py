"""From what a user calls a config, and the options of a command line, to a Config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .find import find_config
from .keys import check_keys
from .options import by_number, check_options
from .read import read_config
from .values import check_values


def open_config(
    name: str | Path,
    options: Mapping[str, Any] | None = None,
    adapt: Callable[[Config], None] | None = None,
) -> Config:
    """Read a config and merge options into it.

    Args:
        name: path of a file, or name of a config that comes with mmmamba.
        options: values by dotted keys, as `--cfg-options` gives them. An entry of a list goes by
            its number or its type: `custom_hooks.EarlyStoppingHook.patience`.
        adapt: changes the config before options are merged, which have the last word.

    Raises:
        UsageError: no such config, one that cannot be read, or an option that leads nowhere.
    """
    cfg = read_config(find_config(name))
    if adapt is not None:
        adapt(cfg)
    chosen = by_number(cfg, options or {})
    # Before they are merged: afterwards an option's key is one that the config has.
    check_options(cfg, chosen)
    cfg.merge_from_dict(chosen)
    return cfg


def check_config(cfg: Config, options: Iterable[str] = ()) -> None:
    """Check every key and number of a config that a run is to be built from.

    Args:
        cfg: read from a file, `cfg.filename`.
        options: dotted keys that were set after it was read; they are named as what set a value.

    Raises:
        UsageError: a line for each key that nothing takes, or for each value that is no number of
            the kind that is wanted.
    """
    chosen = by_number(cfg, dict.fromkeys(options))
    check_keys(cfg, chosen)
    check_values(cfg, chosen)
