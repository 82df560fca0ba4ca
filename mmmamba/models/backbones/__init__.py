"""The backbones: one file a family, made by name with `create_backbone`."""

from .efficient_vmamba import EfficientVMamba
from .factory import create_backbone, list_backbones
from .local_vim import LocalVim
from .local_vmamba import LocalVMamba
from .mamba_vision import MambaVision
from .mamba_yolo import MambaYOLOBackbone
from .mobile_mamba import MobileMamba
from .vim import Vim
from .vmamba import VMamba

__all__ = [
    "EfficientVMamba",
    "LocalVMamba",
    "LocalVim",
    "MambaVision",
    "MambaYOLOBackbone",
    "MobileMamba",
    "VMamba",
    "Vim",
    "create_backbone",
    "list_backbones",
]
