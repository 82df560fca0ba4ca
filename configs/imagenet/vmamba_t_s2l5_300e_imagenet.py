_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_t_s2l5"))
expected = dict(metrics={"accuracy/top1": 82.5})
