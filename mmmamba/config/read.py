"""Reads a config file."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from ..errors import UsageError

UNREADABLE = (
    ConfigParsingError,
    OSError,
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What reading a config raises: it is a program, and these are its mistakes."""


def read_config(path: Path) -> Config:
    """Read a config file, a program in Python, which is run.

    Raises:
        UsageError: it is written in anything else, or cannot be read.
    """
    if path.suffix != ".py":
        raise UsageError(
            f"{path} is no config: wanted a .py file; values of a {path.suffix or 'file'} go into "
            "one as dict(...), below its _base_"
        )
    try:
        return Config.fromfile(path)
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
