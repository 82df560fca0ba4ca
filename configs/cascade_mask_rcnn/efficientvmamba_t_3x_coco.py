# The authors published Mask R-CNN only: their backbone and
# its settings under this project's cascade.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
    "../_base_/default_runtime.py",
]

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Tiny/resolve/main/efficient_vmamba_tiny.ckpt"
)
model = dict(
    backbone=dict(
        type="EfficientVMamba",
        arch="efficientvmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
optim_wrapper = dict(type="AmpOptimWrapper")
