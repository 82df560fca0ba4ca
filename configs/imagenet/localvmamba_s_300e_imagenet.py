_base_ = "./localvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="localvmamba_s"))
expected = dict(metrics={"accuracy/top1": 83.7})
