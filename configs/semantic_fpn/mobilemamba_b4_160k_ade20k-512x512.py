# The weights lie behind a page: fetch mobilemamba_b4.pth by hand from the place that
# docs/checkpoints.md names, and put it where `checkpoint` says. For 4 GPUs with 8 images each.
_base_ = [
    "../_base_/models/semantic_fpn.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "checkpoints/mobilemamba_b4.pth"
model = dict(
    backbone=dict(
        type="MobileMamba",
        arch="mobilemamba_b4",
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[200, 376, 448]),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1.2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"decode_head": dict(lr_mult=10.0)}),
)
# Constant for the first half, then a cosine.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=80_000, end=160_000, T_max=80_000),
]
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=32)
expected = dict(
    metrics={"mIoU": 42.5},
    source="https://github.com/lewandofskee/MobileMamba, table of segmentation results",
    verified=False,
)
