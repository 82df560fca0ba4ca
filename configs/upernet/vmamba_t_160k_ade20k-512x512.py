_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
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
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 47.9},
    metrics_tta={"mIoU": 48.8},
    source="https://github.com/MzeroMiko/VMamba, table of segmentation results",
    verified=False,
)
