"""mmpretrain beside transformers 5.

mmpretrain 1.3 imports its models of language and images wherever transformers is installed, and
they take from it what version 5 has no more: then neither mmpretrain can be imported nor mmdet,
which looks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

ASKED = "mmpretrain.utils.dependency"
"""The module that says whether those models can be had."""
FIRST_WITHOUT = 5
"""The major version of transformers that mmpretrain's models do not fit."""


def leave_language_models_out() -> None:
    """Let mmpretrain import without them, where transformers is too new for it."""
    try:
        major = int(version("transformers").split(".")[0])
    except PackageNotFoundError:
        return
    if major < FIRST_WITHOUT:
        return
    if ASKED in sys.modules:
        # mmpretrain was begun before us. Its models ask this module when they are imported.
        sys.modules[ASKED].WITH_MULTIMODAL = False  # type: ignore[attr-defined]
    elif not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds that one module as Python does, and changes its answer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ASKED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]
