_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_s", drop_path_rate=0.3))
expected = dict(metrics={"accuracy/top1": 83.6})
