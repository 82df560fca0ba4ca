"""Mend mmdet and mmseg where they were imported while `mmcv.ops` could not be.

Where `from mmcv.ops import ...` fails, they keep a function or class that raises when used, or
None; mmseg's mask heads are built on another base class, and mmdet.models itself stays half
imported.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import Any

PACKAGES = ("mmdet", "mmseg")
PLACEHOLDER_TEXT = "requires mmcv to be compiled"

# Placeholders that stand for something else than the operator of their own name.
RENAMED = {
    "mmdet.models.dense_heads.clr_head.clr_head.nms": ("mmcv.ops", "line_nms"),
    "mmseg.models.decode_heads.san_head.get_uncertain_point_coords_with_randomness": (
        "mmseg.models.utils.point_sample",
        "get_uncertain_point_coords_with_randomness",
    ),
}

# mmseg's module, its head, and the name under which it keeps mmdet's head of the same name.
MASK_HEADS = (
    ("mmseg.models.decode_heads.maskformer_head", "MaskFormerHead", "MMDET_MaskFormerHead"),
    ("mmseg.models.decode_heads.mask2former_head", "Mask2FormerHead", "MMDET_Mask2FormerHead"),
)

logger = logging.getLogger("mmmamba")


def replace_placeholders() -> list[str]:
    """Put mmcv's operators where modules imported too early hold placeholders.

    Returns the full names of what was replaced.
    """
    # Listed before anything is imported below, which adds to `sys.modules`.
    candidates = [
        (module, attribute)
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] in PACKAGES and isinstance(module, ModuleType)
        for attribute, value in vars(module).items()
        if value is None or _raises_when_used(module, value)
    ]
    replaced = []
    for module, attribute in candidates:
        path = f"{module.__name__}.{attribute}"
        # A placeholder may have a leading underscore before the operator's name.
        source, name = RENAMED.get(path, ("mmcv.ops", attribute.lstrip("_")))
        operators = importlib.import_module(source)
        # Modules hold None under many names; those that mmcv does not have are no placeholders.
        if hasattr(operators, name):
            setattr(module, attribute, getattr(operators, name))
            replaced.append(path)
    if any(name.startswith("mmdet.models.") for name in sys.modules):
        _finish_import("mmdet.models")
        replaced += _rebase_mask_heads()
    if replaced:
        logger.info("imported before mmmamba, now with mmcv's operators: %s", ", ".join(replaced))
    return replaced


def _raises_when_used(module: ModuleType, value: Any) -> bool:
    if getattr(value, "__module__", None) != module.__name__:
        return False
    # A class is a placeholder if its constructor raises. The error's text is a constant of the
    # code, so that nothing has to be called to find out.
    function = value.__dict__.get("__init__") if isinstance(value, type) else value
    code = getattr(function, "__code__", None)
    return code is not None and any(
        isinstance(c, str) and PLACEHOLDER_TEXT in c for c in code.co_consts
    )


def _finish_import(package: str) -> None:
    """Import again a package whose first import failed.

    Its finished submodules are taken from `sys.modules`, where Python does not make them
    attributes again.
    """
    importlib.import_module(package)
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        parent, _, child = name.rpartition(".")
        if not hasattr(sys.modules[parent], child):
            setattr(sys.modules[parent], child, sys.modules[name])


def _rebase_mask_heads() -> list[str]:
    """Give mmseg's mask heads the base class from mmdet that they could not import.

    The classes stand in mmseg's registry already, so they are changed in place.
    """
    dense_heads = importlib.import_module("mmdet.models.dense_heads")
    rebased = []
    for path, name, alias in MASK_HEADS:
        module = sys.modules.get(path)
        base = getattr(dense_heads, name)
        if module is not None and not issubclass(getattr(module, alias), base):
            setattr(module, alias, base)
            # Instances and the registry refer to the class itself: it gets another base.
            getattr(module, name).__bases__ = (base,)
            rebased.append(f"{path}.{name}")
    return rebased
