"""Mamba backbones for OpenMMLab detectors and segmentors.

Importing it answers mmcv's compiled operators where they are missing (`mmmamba.compat`) and
registers the backbones, training loops and hooks with MMEngine, so that
`custom_imports = dict(imports=['mmmamba'])` is all a config needs. Detectors that MMEngine builds
from then on are looked at in their first pass: heads must get maps of their strides.
"""

from . import compat

# The order matters: what follows imports mmcv, which needs OpenCV and asks for its operators.
compat.check_opencv()
compat.install()
compat.find_mmseg()

# Imported for what they register.
from .engine import reliability  # noqa: F401
from .engine.hooks import graphs  # noqa: F401
from .engine.log import forward_to_mmengine
from .models.backbones import create_backbone, list_backbones
from .models.map_check import watch_built_models
from .version import __version__

forward_to_mmengine()
watch_built_models()

__all__ = ["__version__", "create_backbone", "list_backbones"]
