"""Every operator of mmcv that the code and configs of mmdet and mmseg name has an answer."""

import re
import sys
from pathlib import Path

import mmcv.ops
import mmdet
import mmseg
import pytest
from mmengine.registry import MODELS

from mmmamba.compat import compiled_extension
from mmmamba.compat.ext import OPERATORS

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

# Of mmcv/ops/nms.py, for rotated boxes; nothing in mmdet or mmseg calls them.
ROTATED = {"nms_rotated", "nms_quadri"}


def named_operators() -> set[str]:
    """Functions and classes of mmcv.ops by the names in imports, and in `type=` of configs."""
    names = set()
    for package in (mmdet, mmseg):
        for path in Path(package.__file__).parent.rglob("*.py"):
            text = path.read_text()
            for imported in re.findall(r"from mmcv\.ops[\w.]* import (\([^)]*\)|.*)", text):
                names |= {word.split(" as ")[0].strip() for word in imported.strip("()").split(",")}
            if ".mim" in path.parts:
                names |= set(re.findall(r"type='(\w+)'", text))
    return names


def test_what_mmdet_and_mmseg_name_is_answered():
    asked = {}
    for name in named_operators():
        operator = getattr(mmcv.ops, name, None) or MODELS.get(name)
        # Functions such as `roi_align` are the `apply` of a class.
        module = getattr(getattr(operator, "__self__", operator), "__module__", None) or ""
        if module.startswith("mmcv.ops."):
            source = Path(sys.modules[module].__file__).read_text()
            asked[name] = set(re.findall(r"ext_module\.(\w+)", source)) - ROTATED
    known = {"nms_match", "CARAFEPack", "MMSyncBN", "DeformRoIPoolPack", "roi_align", "PSAMask"}
    assert known <= asked.keys(), "the search must find what is known to be used"
    missing = {name: entries - OPERATORS.keys() for name, entries in asked.items()}
    assert {name: entries for name, entries in missing.items() if entries} == {}
