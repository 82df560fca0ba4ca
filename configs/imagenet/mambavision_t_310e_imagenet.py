# The average of the weights teaches from a quarter of the training on (MESA). Authors weigh it by
# 0.5 to 6 and do not say which size has which: here all have the smallest.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_310e_imagenet_lamb.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    type="DistilledClassifier",
    backbone=dict(type="MambaVision", arch="mambavision_t", drop_path_rate=0.2),
)
custom_hooks = [
    dict(type="EMAHook", momentum=2e-4, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=0.5, begin=0.25),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 224
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
expected = dict(
    metrics={"accuracy/top1": 82.3},
    source="https://github.com/NVlabs/MambaVision, table of classification results",
    verified=False,
)
