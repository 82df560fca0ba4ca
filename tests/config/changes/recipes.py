"""Recipes of mmmamba, mmdet and mmseg, one of each kind."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

import mmdet
import mmseg
from mmengine.config import Config

from mmmamba.config.find import find_config

LIBRARIES = {"mmdet": mmdet, "mmseg": mmseg}
DETECTORS = (
    "mask_rcnn/vmamba_t_1x_coco",
    "mask_rcnn/vmamba_t_3x_coco",
    "yolo/vmamba_t_yolox_36e_coco",
    "yolo/vmamba_t_rtmdet_36e_coco",
    "mamba_yolo/mamba_yolo_t_300e_coco",
    "mmdet::yolox/yolox_s_8xb8-300e_coco",
    "mmdet::rtmdet/rtmdet_l_8xb32-300e_coco",
    "mmdet::tood/tood_r50_fpn_1x_coco",
    "mmdet::dino/dino-4scale_r50_8xb2-12e_coco",
    "mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
)
"""They count epochs."""
BY_STEPS = (
    "mask_rcnn/mambar_s_100e-lsj_coco",
    "upernet/vmamba_t_160k_ade20k-512x512",
    "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512",
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco",
    "mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512",
    "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-769x769",
)


def recipe(name: str) -> Config:
    """A copy of a config by its name, with `mmdet::` or `mmseg::` before it where it is theirs."""
    return deepcopy(_read(name))


@cache
def _read(name: str) -> Config:
    library, _, own = name.rpartition("::")
    if not library:
        return Config.fromfile(find_config(name))
    return Config.fromfile(Path(LIBRARIES[library].__file__).parent / f".mim/configs/{own}.py")
