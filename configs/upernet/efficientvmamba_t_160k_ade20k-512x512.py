# From the paper alone: there is no code or config of the authors.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
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
    decode_head=dict(in_channels=[48, 96, 192, 384]),
    auxiliary_head=dict(in_channels=192),
)
expected = dict(
    metrics={"mIoU": 38.9},
    metrics_tta={"mIoU": 39.3},
    source="arXiv 2403.09977, table of segmentation results",
    verified=False,
)
