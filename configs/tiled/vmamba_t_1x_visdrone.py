# Faster R-CNN on tiles of VisDrone. All settings are ours: we know of no VMamba published
# on this data set, and nothing has been trained on it here.
_base_ = [
    "../_base_/models/faster_rcnn_fpn_small.py",
    "../_base_/datasets/visdrone_tiled.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm1_tiny_0230s_ckpt_epoch_264.pth"
)
model = dict(
    backbone=dict(
        type="VMamba",
        arch="vmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(bbox_head=dict(num_classes=10)),
)
