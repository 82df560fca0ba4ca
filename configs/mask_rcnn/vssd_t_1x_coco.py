_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://huggingface.co/YuhengSSS/VSSD/resolve/main/vssd_tiny_best_ema.pth"
model = dict(
    backbone=dict(
        type="VSSD",
        arch="vssd_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.469, "coco/segm_mAP": 0.426},
    source="https://github.com/YuHengsss/VSSD, table of detection results",
    verified=False,
)
