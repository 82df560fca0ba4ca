# coco_yolo.py and schedule_yolo_36e.py with averaged
# weights, without mosaic in the last four epochs.
_base_ = ["../datasets/coco_yolo.py", "../schedules/schedule_yolo_36e.py", "../default_runtime.py"]
custom_imports = dict(imports=["mmmamba.detection"], allow_failed_imports=False)

train_dataloader = dict(batch_size=32)
custom_hooks = [
    dict(
        type="EMAHook",
        ema_type="GroupedExpMomentumEMA",
        momentum=2e-4,
        gamma=2000,
        update_buffers=True,
        priority=49,
    ),
    dict(type="PipelineSwitchHook", switch_epoch=32, switch_pipeline={{_base_.late_pipeline}}),
]
