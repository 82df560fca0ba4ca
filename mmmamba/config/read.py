"""Reads a config file, a program in Python that may inherit from others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from ..errors import UsageError
from .find import configs_folder
from .modules import MISTAKES, import_modules

UNREADABLE = (ConfigParsingError, *MISTAKES)
"""What reading a config raises."""


def read_config(path: Path) -> Config:
    """Run a config file and everything that it inherits from, and import what it asks for.

    Raises:
        UsageError: it or a base of it is written in anything else than Python, or cannot be read,
            or a module of its `custom_imports` cannot be imported.
    """
    _refuse_other_languages(path)
    try:
        # Before the files are run: MMEngine would take in bases of other languages on its way.
        files = _with_bases(path)
        cfg = Config.fromfile(path, import_custom_modules=False)
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    import_modules(cfg, files)
    return cfg


def bases(path: Path) -> list[Path]:
    """The files that the `_base_` of a config names, in its order."""
    named = Config._get_base_files(str(path))
    return [Path(Config._get_cfg_path(base, str(path))[0]).resolve() for base in named]


@contextmanager
def shipped_files_read_once() -> Iterator[None]:
    """A time in which MMEngine keeps what it read of files that come with mmmamba.

    For who reads many configs: it would read their bases once more for each.
    """
    folder, read, kept = configs_folder().resolve(), Config._file2dict, {}

    def read_or_kept(filename: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        path = Path(filename).resolve()
        if not path.is_relative_to(folder):
            return read(filename, *args, **kwargs)
        # As it was written, too: the text of a config names its files so.
        key = path, filename, args, tuple(kwargs.items())
        if key not in kept:
            kept[key] = read(filename, *args, **kwargs)
        return deepcopy(kept[key])

    Config._file2dict = staticmethod(read_or_kept)
    try:
        yield
    finally:
        Config._file2dict = staticmethod(read)


def _refuse_other_languages(path: Path, owner: Path | None = None) -> None:
    if path.suffix != ".py":
        place = f"{path}, a base of {owner}," if owner else str(path)
        raise UsageError(
            f"{place} is no config: wanted a .py file; values of a {path.suffix or 'file'} go into "
            "one as dict(...), below its _base_"
        )


def _with_bases(path: Path) -> list[Path]:
    """A config and all that it inherits from.

    Other languages are refused: MMEngine would read JSON and YAML, the latter with a reader that
    makes any object.
    """
    # Bases may name one another, or one of them twice.
    seen, waiting = {path: None}, [path]
    while waiting:
        file = waiting.pop()
        seen[file] = None
        for base in bases(file):
            _refuse_other_languages(base, file)
            # A base that is not there is told when the config is read.
            if base not in seen and base.is_file():
                waiting.append(base)
    return list(seen)
