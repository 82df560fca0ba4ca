"""Test a detector or a segmentor.

python tools/test.py configs/mask_rcnn/mambavision_t_1x_coco.py CHECKPOINT
"""

import os
import sys

# Read when torch is loaded. Threads that spin while they wait made a step on two busy cores six
# times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import mmmamba  # noqa: F401  before mmdet and mmseg, which import mmcv's operators
from mmmamba.commands import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
