# As the authors did, trained at many scales already in 12 epochs and with the same drop path for
# every size: not to be compared with other 1x results.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://cloud.tsinghua.edu.cn/f/7a19712877cb4242889c/?dl=1"
model = dict(
    backbone=dict(
        type="MLLA",
        arch="mlla_t",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
expected = dict(
    metrics={"coco/bbox_mAP": 0.468, "coco/segm_mAP": 0.421},
    source="https://github.com/LeapLabTHU/MLLA, table of detection results",
    verified=False,
)
