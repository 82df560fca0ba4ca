# The network of the published code, with LSBlock (arXiv v1).
_base_ = [
    "../_base_/models/mamba_yolo.py",
    "../_base_/datasets/coco_yolo.py",
    "../_base_/schedules/schedule_yolo_300e.py",
    "../_base_/default_runtime.py",
]
custom_imports = dict(imports=["mmmamba.detection"], allow_failed_imports=False)

model = dict(
    backbone=dict(arch="mamba_yolo_t"),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(in_channels=[64, 128, 256]),
)
# Mosaic is off for the last ten epochs. Training ends early
# where AP has not risen for 100 epochs, ten validations.
custom_hooks = [
    dict(type="YOLOWarmupHook", epochs=3, min_iters=100, bias_lr=0.1, momentum=0.8),
    dict(
        type="EMAHook",
        ema_type="GroupedExpMomentumEMA",
        momentum=1e-4,
        gamma=2000,
        update_buffers=True,
        priority=49,
    ),
    dict(
        type="PipelineSwitchHook",
        switch_epoch=290,
        switch_pipeline={{_base_.late_pipeline}},
    ),
    dict(
        type="EarlyStoppingHook",
        monitor="coco/bbox_mAP",
        rule="greater",
        min_delta=0.0,
        patience=10,
    ),
]
expected = dict(
    metrics={"coco/bbox_mAP": 0.454},
    source="arXiv 2406.05835v1 as a later paper quotes it",
    verified=False,
)
