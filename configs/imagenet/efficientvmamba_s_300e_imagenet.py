_base_ = "./efficientvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="efficientvmamba_s"))
expected = dict(metrics={"accuracy/top1": 78.7})
