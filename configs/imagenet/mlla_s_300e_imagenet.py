# For 512 images an iteration (8 GPUs x 64).
_base_ = "./mlla_t_300e_imagenet.py"

model = dict(backbone=dict(arch="mlla_s", drop_path_rate=0.3))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[1].eta_min = 5e-6
auto_scale_lr = dict(base_batch_size=512)
custom_hooks = [
    dict(type="EMAHook", momentum=5e-5, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=1.5, begin=0.25),
]
expected = dict(metrics={"accuracy/top1": 84.4})
