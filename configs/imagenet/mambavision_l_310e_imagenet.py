_base_ = "./mambavision_t_310e_imagenet.py"

model = dict(backbone=dict(arch="mambavision_l", drop_path_rate=0.3))
optim_wrapper = dict(optimizer=dict(weight_decay=0.12))
expected = dict(metrics={"accuracy/top1": 85.0})
