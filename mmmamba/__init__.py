"""Mamba backbones for OpenMMLab detectors and segmentors.

Importing it answers mmcv's compiled operators where they are missing (`mmmamba.compat`) and
registers the backbones, training loops and hooks with MMEngine, so that
`custom_imports = dict(imports=['mmmamba'])` is all a config needs. Detectors that MMEngine builds
from then on are looked at in their first pass: heads must get maps of their strides.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import compat

# The order matters: what follows imports mmcv, which needs OpenCV and asks for its operators.
compat.check_opencv()
compat.install()
compat.find_mmseg()
compat.leave_language_models_out()

# Imported for what they register.
from .engine import fsdp, merged_groups, reliability  # noqa: F401
from .engine.hooks import graphs  # noqa: F401
from .engine.log import forward_to_mmengine
from .models.backbones import create_backbone, list_backbones
from .models.map_check import watch_built_models
from .version import __version__

if TYPE_CHECKING:
    from .commands.calls import test, train
    from .commands.export.create import export
    from .commands.new.create import new
    from .inference import Predictor

forward_to_mmengine()
watch_built_models()

__all__ = [
    "Predictor",
    "__version__",
    "create_backbone",
    "export",
    "list_backbones",
    "new",
    "test",
    "train",
]
LATER = {
    "Predictor": ".inference",
    "export": ".commands.export.create",
    "new": ".commands.new.create",
    "test": ".commands.calls",
    "train": ".commands.calls",
}
"""Modules of what is imported when it is asked for: they load most of OpenMMLab, which a config
that only registers the backbones need not wait for."""


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept, so that this is asked once.
    globals()[name] = value = getattr(import_module(LATER[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
