_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet_plainmamba.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="PlainMamba", arch="plainmamba_l1", drop_path_rate=0.2))
train_dataloader = dict(batch_size=256)
expected = dict(
    metrics={"accuracy/top1": 77.9},
    source="https://github.com/ChenhongyiYang/PlainMamba, table of classification results",
    verified=False,
)
