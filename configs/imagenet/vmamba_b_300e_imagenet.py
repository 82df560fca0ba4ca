_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_b", drop_path_rate=0.6))
expected = dict(metrics={"accuracy/top1": 83.9})
