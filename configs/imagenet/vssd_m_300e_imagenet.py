_base_ = "./vssd_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vssd_m"))
expected = dict(metrics={"accuracy/top1": 82.5})
