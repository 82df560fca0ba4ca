# The average of the weights teaches from epoch 75 (MESA).
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    type="DistilledClassifier",
    backbone=dict(type="MLLA", arch="mlla_t", drop_path_rate=0.2),
)
custom_hooks = [
    dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=1.0, begin=0.25),
]
expected = dict(
    metrics={"accuracy/top1": 83.5},
    source="https://github.com/LeapLabTHU/MLLA, table of classification results",
    verified=False,
)
