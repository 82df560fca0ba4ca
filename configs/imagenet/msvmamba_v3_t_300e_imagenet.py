_base_ = "./msvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="msvmamba_v3_t"))
expected = dict(metrics={"accuracy/top1": 83.0})
