# The authors published results of v3 here, but no config: the settings are those of their first
# generation.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://huggingface.co/YuhengSSS/MSVMamba/resolve/main/msvmambav3_tiny_224.pth"
model = dict(
    backbone=dict(
        type="MSVMamba",
        arch="msvmamba_v3_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.487, "coco/segm_mAP": 0.434},
    source="arXiv 2405.14174, table of detection results",
    verified=False,
)
