# The only size of VMamba that was trained without an average of its weights. Its file is called
# dp01, its settings say 0.2.
_base_ = "./vmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vmamba_v0_t"))
custom_hooks = []
expected = dict(metrics={"accuracy/top1": 82.2})
