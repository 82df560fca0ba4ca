# The weights lie behind a page: fetch them by hand from the place that docs/checkpoints.md names,
# and put the file where `checkpoint` says.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "checkpoints/msvmamba_t.pth"
model = dict(
    backbone=dict(
        type="MSVMamba",
        arch="msvmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.469, "coco/segm_mAP": 0.422},
    source="https://github.com/YuHengsss/MSVMamba, table of detection results",
    verified=False,
)
