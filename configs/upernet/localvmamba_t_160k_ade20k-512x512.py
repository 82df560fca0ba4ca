# The authors never published weights of LocalVMamba-T: name your own in model.backbone.init_cfg.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(type="LocalVMamba", arch="localvmamba_t", drop_path_rate=0.1),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 47.9},
    metrics_tta={"mIoU": 49.1},
    source="arXiv 2403.09338, table of segmentation results",
    verified=False,
)
