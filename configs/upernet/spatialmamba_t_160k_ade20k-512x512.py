# The weights lie behind a page: fetch spatialmamba_t.pth by hand from the place that
# docs/checkpoints.md names, and put it where `checkpoint` says.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "checkpoints/spatialmamba_t.pth"
model = dict(
    backbone=dict(
        type="SpatialMamba",
        arch="spatialmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
# With --tta: three sizes, where other families' results are of six.
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
# The authors' blocks have norms whose names do not hold `norm`, and decay them.
decayed = dict(decay_mult=1.0)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={".norm1.": decayed, ".norm2.": decayed}),
)
expected = dict(
    metrics={"mIoU": 48.6},
    metrics_tta={"mIoU": 49.4},
    source="https://github.com/EdwardChasel/Spatial-Mamba, table of segmentation results",
    verified=False,
)
