_base_ = "./localvim_t_300e_imagenet.py"

model = dict(backbone=dict(arch="localvim_s"))
expected = dict(metrics={"accuracy/top1": 81.1})
