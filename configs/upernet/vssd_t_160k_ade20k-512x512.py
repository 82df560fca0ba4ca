_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://huggingface.co/YuhengSSS/VSSD/resolve/main/vssd_tiny_best_ema.pth"
model = dict(
    backbone=dict(
        type="VSSD",
        arch="vssd_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
# The authors' multi-scale tests have three sizes and not the usual six.
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type="RandomFlip", prob=prob, direction="horizontal") for prob in (0.0, 1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
expected = dict(
    metrics={"mIoU": 47.9},
    metrics_tta={"mIoU": 48.7},
    source="https://github.com/YuHengsss/VSSD, table of segmentation results",
    verified=False,
)
