# The authors' own config of this size cannot run (its widths are another model's); the paper's
# figures for it fit no Mask R-CNN of the usual size.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
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
expected = dict(
    metrics={"coco/bbox_mAP": 0.383, "coco/segm_mAP": 0.353},
    source="arXiv 2403.09977, table of Mask R-CNN results",
    verified=False,
)
