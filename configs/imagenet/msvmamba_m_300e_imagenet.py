_base_ = "./msvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="msvmamba_m"))
expected = dict(metrics={"accuracy/top1": 79.8})
