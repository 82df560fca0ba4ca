_base_ = "./vim_f_s_300e_imagenet.py"

model = dict(backbone=dict(arch="vim_f_v1_s"))
expected = dict(metrics={"accuracy/top1": 80.5})
