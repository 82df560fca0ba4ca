# The authors published results of v3 here, but no config: the settings are those of their first
# generation.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://huggingface.co/YuhengSSS/MSVMamba/resolve/main/msvmambav3_tiny_224.pth"
model = dict(
    backbone=dict(
        type="MSVMamba",
        arch="msvmamba_v3_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 47.9},
    metrics_tta={"mIoU": 48.5},
    source="arXiv 2405.14174, table of segmentation results",
    verified=False,
)
