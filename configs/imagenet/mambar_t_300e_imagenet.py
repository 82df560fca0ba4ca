# Trained at 224 x 224 from the start; all else is the first stage of the base model, the only size
# whose settings were published.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224_3augment.py",
    "../_base_/schedules/schedule_300e_imagenet_mambar.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(type="MambaR", arch="mambar_t", drop_path_rate=0.1),
    head=dict(loss=dict(label_smooth_val=0.0)),
)
expected = dict(
    metrics={"accuracy/top1": 77.4},
    source="https://github.com/wangf3014/Mamba-Reg, table of classification results",
    verified=False,
)
