# RandAugment grows with its magnitude, which the authors' does not: MMPretrain has that kind only.
# Where gradients are clipped is not stated: at 5, as VMamba's. The average is the paper's.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(type="LocalVMamba", arch="localvmamba_t", drop_path_rate=0.2),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.2), dict(type="CutMix", alpha=1.0)]),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.04))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1e-4
param_scheduler[1].eta_min = 1e-6
expected = dict(
    metrics={"accuracy/top1": 82.7},
    source="https://github.com/hunto/LocalMamba, table of classification results",
    verified=False,
)
