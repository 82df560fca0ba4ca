_base_ = "./mobilemamba_t2_300e_imagenet.py"

model = dict(backbone=dict(arch="mobilemamba_t4"))
expected = dict(metrics={"accuracy/top1": 76.1})
