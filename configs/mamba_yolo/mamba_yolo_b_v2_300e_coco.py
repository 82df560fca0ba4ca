# The final paper's network, without LSBlock.
# The README's row "M".
_base_ = "./mamba_yolo_t_300e_coco.py"

model = dict(
    backbone=dict(arch="mamba_yolo_b_v2"),
    neck=dict(in_channels=[128, 256, 512], use_lsblock=False),
    bbox_head=dict(in_channels=[128, 256, 512]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.491},
    source="https://github.com/HZAI-ZJNU/Mamba-YOLO, README",
    verified=False,
)
