_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="MobileMamba", arch="mobilemamba_s6", drop_path_rate=0.0))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[1].eta_min = 3e-5
custom_hooks = [dict(type="EMAHook", momentum=2e-4, update_buffers=True, priority=49)]
expected = dict(
    metrics={"accuracy/top1": 78.0},
    source="https://github.com/lewandofskee/MobileMamba, README (test section)",
    verified=False,
)
