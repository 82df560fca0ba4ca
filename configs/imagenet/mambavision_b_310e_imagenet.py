_base_ = "./mambavision_t_310e_imagenet.py"

model = dict(backbone=dict(arch="mambavision_b", drop_path_rate=0.3))
optim_wrapper = dict(optimizer=dict(weight_decay=0.075))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 35
expected = dict(metrics={"accuracy/top1": 84.2})
