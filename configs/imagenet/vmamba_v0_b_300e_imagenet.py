# The drop path after which the published file is named; the authors' settings now say 0.5.
_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_v0_b", drop_path_rate=0.6))
expected = dict(metrics={"accuracy/top1": 83.7})
