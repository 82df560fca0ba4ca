"""The backbones: one file a family, made by name with `create_backbone`."""

from .factory import create_backbone, list_backbones
from .mamba_vision import MambaVision
from .vmamba import VMamba

__all__ = ["MambaVision", "VMamba", "create_backbone", "list_backbones"]
