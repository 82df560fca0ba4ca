"""The backbones: one file a family, made by name with `create_backbone`.

Every file of this folder is imported, so that a family is known by lying here; its class can be
imported from here too.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ..trunks.base import MambaBackbone
from .factory import create_backbone, list_backbones

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[MambaBackbone]: ...


def import_families() -> dict[str, type[MambaBackbone]]:
    """Import every file of this folder: the families in them, by the names of their classes."""
    for file in sorted(file.name for file in iter_modules(__path__)):
        import_module(f"{__name__}.{file}")
    here = (family for family in MambaBackbone.families() if family.__module__.startswith(__name__))
    return {family.__name__: family for family in here}


_FAMILIES = import_families()
globals().update(_FAMILIES)

__all__ = [*_FAMILIES, "create_backbone", "list_backbones"]
