_base_ = "./msvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="msvmamba_v3_b", drop_path_rate=0.5))
optim_wrapper = dict(optimizer=dict(lr=6e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 600
param_scheduler[1].eta_min = 6e-6
expected = dict(metrics={"accuracy/top1": 84.4})
