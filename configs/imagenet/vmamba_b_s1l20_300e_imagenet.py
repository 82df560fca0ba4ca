_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_b_s1l20", drop_path_rate=0.5))
expected = dict(metrics={"accuracy/top1": 83.8})
