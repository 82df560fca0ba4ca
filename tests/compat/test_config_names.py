"""Configs of mmdet and mmseg are found by name."""

import subprocess
import sys

SWIN = "mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
CONFIGS = {
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": "ResNet",
    SWIN: "SwinTransformer",
}
READ = f"""
import mmmamba
from mmengine.hub import get_config
print(*(get_config(name).model.backbone.type for name in {list(CONFIGS)}))
"""


def test_configs_by_name() -> None:
    """In a process of its own, where nothing else has been imported."""
    run = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1].split() == list(CONFIGS.values())
