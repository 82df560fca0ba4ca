"""What cannot work, with the reason.

The sweep fails for anything else, and for what is listed here and works.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from .cases import CONTROL

MMPRETRAIN = "the config needs mmpretrain, which is not installed"
SOURCES = "needs language models, which are downloads"
NOT_HERE = {
    "mmdet/clrnet": (
        "mmdet does not ship the data preprocessor that the config names (LineDetDataProcessor)"
    ),
    "mmdet/convnext": MMPRETRAIN,
    "mmdet/glip": SOURCES,
    "mmdet/grounding_dino": SOURCES,
    "mmdet/misc": "needs Detectron2",
    "mmdet/mm_grounding_dino": SOURCES,
    "mmdet/reid": MMPRETRAIN,
    "mmdet/ssd": "trains; mmdet's prediction asks for SSDHead.loss_cls, which it has not",
    "mmdet/timm_example": MMPRETRAIN,
    "mmseg/convnext": MMPRETRAIN,
    "mmseg/poolformer": MMPRETRAIN,
    "mmseg/san": (
        "mmseg's init_weights of its head fails without CLIP's weights, which are a download"
    ),
    "mmseg/vpd": "needs a diffusion model, which is a download",
}
"""The config as shipped does not run either."""
NEEDS = {"mmdet/lad": "sklearn", "mmdet/paa": "sklearn"}
"""Packages without which a case, as shipped too, cannot run; where they are installed it must."""
BOUND = {
    "mmdet/centripetalnet": "bound to its hourglass",
    "mmdet/cornernet": "bound to its hourglass",
    "mmdet/detectors": "bound to ResNet: the neck feeds its stages",
    "mmdet/tridentnet": "bound to ResNet: its last stage runs in three branches",
    "mmseg/ddrnet": "bound to DDRNet: the head reads its branches",
    "mmseg/dpt": "bound to ViT: the head reads its class token",
    "mmseg/pidnet": "bound to PIDNet: the head reads its branches",
}
"""Refused by the rules, `mmmamba.models.drop_in.bound`."""
FAULTS: dict[tuple[str, str], str] = {}
"""Ours, to be mended."""


def reason(name: str, backbone: str) -> str | None:
    """Why a case cannot work; None where it should."""
    if name in NOT_HERE:
        return NOT_HERE[name]
    if backbone == CONTROL:
        return None
    return BOUND.get(name) or FAULTS.get((name, backbone))


def surprises(results: dict[str, dict[str, dict]]) -> Iterator[str]:
    """A line for each result that is not what this list says."""
    for name, row in results.items():
        for backbone, result in row.items():
            why = reason(name, backbone)
            if result["ok"] and why:
                yield f"{name} {backbone} works, though it is listed: {why}"
            elif not result["ok"] and not why and not _lacks(name):
                yield f"{name} {backbone}: {result.get('stage', '')}: {result['reason']}"


def _lacks(name: str) -> bool:
    return name in NEEDS and find_spec(NEEDS[name]) is None
