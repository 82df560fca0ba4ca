# The network of the published code, with LSBlock (arXiv v1).
_base_ = "./mamba_yolo_t_300e_coco.py"

model = dict(
    backbone=dict(arch="mamba_yolo_l"),
    neck=dict(in_channels=[192, 384, 576], num_ss2d=2),
    bbox_head=dict(in_channels=[192, 384, 576]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.521},
    source="https://github.com/HZAI-ZJNU/Mamba-YOLO, README",
    verified=False,
)
