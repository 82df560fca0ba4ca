# For 1024 images an iteration (4 GPUs x 256).
_base_ = "./plainmamba_l2_300e_imagenet.py"

model = dict(backbone=dict(arch="plainmamba_l3", drop_path_rate=0.4))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[1].eta_min = 1e-5
auto_scale_lr = dict(base_batch_size=1024)
expected = dict(metrics={"accuracy/top1": 82.3})
