"""Reads a config file, whatever it is written in."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from .data_config import SUFFIXES, read_data_config
from .errors import UsageError


def read_config(path: Path) -> Config:
    """Read a config file. One in Python is a program and is run; one in JSON or YAML is data.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return read_data_config(path) if path.suffix in SUFFIXES else Config.fromfile(path)
    except (
        ConfigParsingError,
        OSError,
        ImportError,
        SyntaxError,
        NameError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
