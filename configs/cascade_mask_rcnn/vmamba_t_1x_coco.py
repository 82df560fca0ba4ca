# The authors published Mask R-CNN only: their backbone and
# its settings under this project's cascade.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
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
)
