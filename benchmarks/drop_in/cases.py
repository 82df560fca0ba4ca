"""One config of each method that mmdet and mmseg ship, and what a step of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmmamba.config.foreign import configs_of
from mmmamba.config.methods import METHODS

BACKBONES = ("vmamba_t", "mambavision_t", "efficientvmamba_t", "vim_t")
CONTROL = "unmodified"


@dataclass(frozen=True)
class Case:
    """A config and the inputs for it."""

    config: str
    """Below the folder of the method."""
    kind: str = "detector"
    """detector, segmentor, tracker (pairs of frames), proposals (regions are given) or teacher."""
    size: tuple[int, int] = (128, 160)
    empty: bool = True
    """One of the two images has nothing in it."""
    odd: bool = True
    """The image to predict has odd sides."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the config's model, beyond what every case gets."""


def config_path(name: str) -> Path:
    """The file of a config named as `mmdet/retinanet/retinanet_r50_fpn_1x_coco.py`."""
    package, _, inside = name.partition("/")
    return configs_of(package) / inside


IN_THE_IMAGE = {f"roi_head.bbox_head.{i}.bbox_coder.clip_border": True for i in range(6)}
"""Boxes of untrained weights lie outside it, where mmdet cannot paste masks."""

SPECIAL: dict[str, dict[str, Any]] = {
    "mmdet/dino": dict(settings={"num_queries": 100}),
    "mmdet/fast_rcnn": dict(kind="proposals"),
    "mmdet/mask2former_vis": dict(kind="tracker"),
    "mmdet/masktrack_rcnn": dict(kind="tracker"),
    "mmdet/qdtrack": dict(kind="tracker"),
    "mmdet/queryinst": dict(settings=IN_THE_IMAGE),
    "mmdet/soft_teacher": dict(kind="teacher"),
    "mmdet/ssd": dict(size=(300, 300)),
}
"""What a step of a method needs that those of others do not."""
CASES: dict[str, Case] = {}
for _package, _methods in METHODS.items():
    for _method, _config in _methods.items():
        _name = f"{_package}/{_method}"
        _kind = "segmentor" if _package == "mmseg" else "detector"
        CASES[_name] = Case(_config, **{"kind": _kind, **SPECIAL.get(_name, {})})
# As shipped they take no other sides: branches that must meet, or one table of positions.
for _name in ("mmseg/beit", "mmseg/ddrnet", "mmseg/mae", "mmseg/pidnet", "mmseg/unet"):
    CASES[_name] = replace(CASES[_name], size=(128, 192), odd=False)
# LR-ASPP pools 49 cells at stride 8.
CASES["mmseg/mobilenet_v3"] = replace(CASES["mmseg/mobilenet_v3"], size=(416, 416))
