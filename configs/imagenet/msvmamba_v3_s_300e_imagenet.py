_base_ = "./msvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="msvmamba_v3_s", drop_path_rate=0.4))
expected = dict(metrics={"accuracy/top1": 84.1})
