"""Modules of a user's own that a config imports; they may lie beside it."""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..errors import UsageError
from ..suggest import did_you_mean

FOLDERS = "custom_imports_from"
"""Key of a config under which stands where its modules lay, for the copy that a run keeps."""
MISTAKES = (
    OSError,
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What running a config or a module raises: it is a program, and these are its mistakes."""


def import_modules(cfg: Config, files: Sequence[Path]) -> None:
    """Import what the `custom_imports` of a config names.

    A module may lie beside the config or beside one of its bases.

    Args:
        files: the config's, then those of its bases.

    Raises:
        UsageError: there is no such module, it cannot be imported, or another has its name.
    """
    recorded = [Path(one) for one in cfg.get(FOLDERS) or ()]
    folders = [file.parent.resolve() for file in files] + recorded
    settings = cfg.get("custom_imports") or {}
    names = settings.get("imports") or []
    names = [names] if isinstance(names, str) else list(names)
    lenient = settings.get("allow_failed_imports", False)
    used = [_folder_of(name, folders, cfg.filename, lenient) for name in names]
    # What else a config imports is found or not when the part is built.
    used += [_folder_of(name, folders, cfg.filename, True) for name in _imported(files)]
    for folder in recorded:
        _make_importable(folder)
    try:
        import_modules_from_strings(**settings) if settings else None
    except (*MISTAKES, RuntimeError) as error:
        # MMEngine says which module failed and keeps the reason behind it.
        cause = error.__context__ if isinstance(error.__context__, ImportError) else error
        place = traceback.extract_tb(cause.__traceback__)[-1]
        raise UsageError(
            f"custom_imports of {cfg.filename}: {', '.join(names)} cannot be imported: "
            f"{type(cause).__name__}: {cause} ({place.filename}:{place.lineno})"
        ) from error
    if found := [str(folder) for folder in used if folder]:
        cfg[FOLDERS] = list(dict.fromkeys(found))


def need_mmpretrain() -> None:
    """Refuse what is done by mmpretrain where that is not installed.

    Raises:
        UsageError: with the command that installs it.
    """
    if find_spec("mmpretrain") is None:
        raise UsageError(
            "classifiers are made by mmpretrain, which is not installed: pip install "
            "'mmmamba[pretrain]'"
        )


def _imported(files: Sequence[Path]) -> Iterator[str]:
    """Modules that configs in Python's own style import, whose parts are named by their class."""
    for file in files:
        if not Config._is_lazy_import(str(file)):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module


def _folder_of(name: str, folders: Sequence[Path], config: str, lenient: bool) -> Path | None:
    """The folder of the config's that a module lies in, made importable; None of an installed one.

    Args:
        lenient: a module that is nowhere is let pass.

    Raises:
        UsageError: there is no such module, or another of that name would be imported instead.
    """
    top = name.partition(".")[0]
    # Ours is what runs, wherever a config of ours may lie.
    if top == __package__.partition(".")[0]:
        return None
    beside = next((folder for folder in folders if _module_file(folder, top)), None)
    if beside is None:
        if find_spec(top) is None and not lenient:
            near = [file.stem for folder in folders for file in folder.glob("*.py")]
            raise UsageError(
                f"custom_imports of {config}: there is no module {name}; it is neither "
                f"installed nor is {top}.py in {', '.join(map(str, folders))}."
                f"{did_you_mean(top, near, 3)}"
            )
        return None
    _make_importable(beside)
    ours, found = _module_file(beside, top), find_spec(top)
    if ours and found and found.origin and not ours.samefile(found.origin):
        raise UsageError(
            f"custom_imports of {config}: {name} would be {found.origin}, which has the name "
            f"of {ours}. Rename yours"
        )
    return beside


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        # At the end: a file of the user's never stands in for a module that others import.
        sys.path.append(str(folder))


def _module_file(folder: Path, name: str) -> Path | None:
    """The file of a module that lies in a folder, alone or as a package."""
    for file in (folder / f"{name}.py", folder / name / "__init__.py"):
        if file.is_file():
            return file
    return None
