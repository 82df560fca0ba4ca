"""Train a detector or a segmentor: python tools/train.py configs/mask_rcnn/mambavision_t_1x_coco.py"""

import sys

import mmmamba  # noqa: F401  before mmdet and mmseg, which import mmcv's operators
from mmmamba.engine.cli import train

if __name__ == "__main__":
    sys.exit(train())
