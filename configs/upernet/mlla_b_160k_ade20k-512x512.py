_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://cloud.tsinghua.edu.cn/f/91c85c5a1061496d8796/?dl=1"
model = dict(
    backbone=dict(
        type="MLLA",
        arch="mlla_b",
        drop_path_rate=0.5,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 51.9},
    metrics_tta={"mIoU": 52.5},
    source="https://github.com/LeapLabTHU/MLLA, table of segmentation results",
    verified=False,
)
