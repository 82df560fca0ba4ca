_base_ = "./vim_f_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vim_f_v1_t"))
expected = dict(metrics={"accuracy/top1": 76.0})
