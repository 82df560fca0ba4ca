# The settings of the authors' training logs, not the shipped ones, with which a user got 74.7. For
# 2048 images an iteration (16 GPUs x 128). RandAugment grows with its magnitude, which theirs does
# not: MMPretrain has that kind only. Mixed precision is not stated and left on.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(type="EfficientVMamba", arch="efficientvmamba_t", drop_path_rate=0.1),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.2), dict(type="CutMix", alpha=1.0)]),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.04), clip_grad=dict(max_norm=1.0))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 5e-5
param_scheduler[1].eta_min = 1e-6
auto_scale_lr = dict(base_batch_size=2048)
expected = dict(
    metrics={"accuracy/top1": 76.5},
    source="https://github.com/TerryPei/EfficientVMamba, table of classification results",
    verified=False,
)
