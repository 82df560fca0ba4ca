# The final paper's network, without LSBlock.
# The README states 5.8 M parameters, which no arrangement has; the FLOPs are those of this one.
_base_ = "./mamba_yolo_t_300e_coco.py"

model = dict(
    backbone=dict(arch="mamba_yolo_t_v2"),
    neck=dict(in_channels=[64, 128, 256], use_lsblock=False),
    bbox_head=dict(in_channels=[64, 128, 256]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.445},
    source="https://github.com/HZAI-ZJNU/Mamba-YOLO, README",
    verified=False,
)
