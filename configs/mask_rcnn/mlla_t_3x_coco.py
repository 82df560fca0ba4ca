_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://cloud.tsinghua.edu.cn/f/7a19712877cb4242889c/?dl=1"
model = dict(
    backbone=dict(
        type="MLLA",
        arch="mlla_t",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
expected = dict(
    metrics={"coco/bbox_mAP": 0.488, "coco/segm_mAP": 0.438},
    source="https://github.com/LeapLabTHU/MLLA, table of detection results",
    verified=False,
)
