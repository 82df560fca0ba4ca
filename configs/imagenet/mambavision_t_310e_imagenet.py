_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_310e_imagenet_lamb.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="MambaVision", arch="mambavision_t", drop_path_rate=0.2))
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 224
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
expected = dict(
    metrics={"accuracy/top1": 82.3},
    source="https://github.com/NVlabs/MambaVision, table of classification results",
    verified=False,
)
