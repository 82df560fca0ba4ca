"""Mamba backbones for OpenMMLab detectors and segmentors.

Importing it answers mmcv's compiled operators where they are missing (`mmmamba.compat`) and registers the backbones,
training loops and hooks with MMEngine, so that `custom_imports = dict(imports=['mmmamba'])` is all a config needs.
Detectors that MMEngine builds from then on are looked at in their first pass: heads must get maps of their strides.
"""

from . import compat

compat.check_opencv()
compat.install()
compat.find_mmseg()

from .engine import graph_hook, reliability  # noqa: E402, F401  (registers loops and hooks that configs name)
from .engine.log import forward_to_mmengine  # noqa: E402
from .models.backbones import create_backbone, list_backbones  # noqa: E402
from .models.map_check import watch_built_models  # noqa: E402

forward_to_mmengine()
watch_built_models()

__version__ = "0.1.0"
__all__ = ["__version__", "create_backbone", "list_backbones"]
