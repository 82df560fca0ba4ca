_base_ = "./groupmamba_t_300e-distilled_imagenet.py"

model = dict(backbone=dict(arch="groupmamba_b"))
expected = dict(metrics={"accuracy/top1": 84.5})
