_base_ = "./localvim_t_300e_imagenet.py"

model = dict(backbone=dict(arch="localvim_t_wo_search"))
expected = dict(metrics={"accuracy/top1": 75.8})
