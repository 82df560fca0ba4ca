_base_ = "./mamba_nd_s_300e_imagenet.py"

model = dict(backbone=dict(arch="mamba_nd_b"))
expected = dict(metrics={"accuracy/top1": 83.0})
