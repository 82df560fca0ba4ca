"""The backbones: one file a family, made by name with `create_backbone`."""

from .efficient_vmamba import EfficientVMamba
from .factory import create_backbone, list_backbones
from .local_vmamba import LocalVMamba
from .mamba_vision import MambaVision
from .vmamba import VMamba

__all__ = ["EfficientVMamba", "LocalVMamba", "MambaVision", "VMamba", "create_backbone", "list_backbones"]
