"""Put PyTorch and torchvision behind `mmcv._ext` where no compiled one is installed.

Order matters: `mmcv.ops` looks its extension up while it is imported, and mmdet and mmseg answer
a failed import with placeholders that raise, or are None, when they are used. So `import mmmamba`
before mmdet and mmseg. Where they came first (a stock tool that reads `custom_imports` from a
config), `install` puts the operators in the place of the placeholders. Worker processes
started by spawn import nothing of ours: a dataset whose transforms need mmcv's operators must
import mmmamba itself.
"""

import logging
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from .placeholders import replace_placeholders

EXTENSION = "mmcv._ext"
logger = logging.getLogger("mmmamba")


class ExtensionModule(ModuleType):
    """A module that has every name.

    Operators that are not provided raise when called, not when looked up.

    `mmcv.ops` demands some hundred names at import, of which a model uses a few.
    """

    def __getattr__(self, name: str) -> Any:
        # The import system asks modules for such names, and would take the answer for the truth.
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        from .ext import missing_operator

        return missing_operator(name)


class ExtensionLoader(Loader):
    """Builds the module at its first import.

    So `install` itself imports neither torchvision nor mmcv.
    """

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ExtensionModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        from .ext import OPERATORS

        module.__dict__.update(OPERATORS)
        logger.info(
            "%s is not compiled; torchvision and PyTorch answer for %d of its operators",
            EXTENSION,
            len(OPERATORS),
        )


class ExtensionFinder(MetaPathFinder):
    """Stands last in `sys.meta_path`: it is asked only when no compiled `mmcv._ext` was found."""

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        return ModuleSpec(EXTENSION, ExtensionLoader(), origin=__file__)


def compiled_extension() -> str | None:
    """Path of the compiled `mmcv._ext`, or None if there is none. Imports nothing.

    Raises:
        ModuleNotFoundError: mmcv itself is not installed.
    """
    folders = _folders_of_mmcv()
    if folders is None:
        raise ModuleNotFoundError("mmcv is not installed: `pip install onedl-mmcv`")
    spec = PathFinder.find_spec(EXTENSION, folders)
    return None if spec is None else spec.origin


def _folders_of_mmcv() -> list[str] | None:
    """Where mmcv's modules lie; None if it is not installed."""
    # Not `importlib.util.find_spec`, which would import mmcv, and would ask our own finder, too.
    mmcv = PathFinder.find_spec("mmcv")
    return None if mmcv is None else mmcv.submodule_search_locations


def install() -> None:
    """Make `import mmcv.ops` work without a compiled extension.

    Cheap, and may be called any number of times.

    A compiled `mmcv._ext` always wins and is left alone. Where there is no mmcv, whose absence
    matters to detectors and not to a backbone, nothing is done.
    """
    if _folders_of_mmcv() is None or compiled_extension() is not None:
        return
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(ExtensionFinder())
    # A failed import leaves no `mmcv.ops` behind; where it stands, no placeholders do any more.
    if "mmcv.ops" not in sys.modules:
        replace_placeholders()
