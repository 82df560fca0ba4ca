# For 1024 images an iteration (16 GPUs x 64), at the rate of the smaller two.
_base_ = "./efficientvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="efficientvmamba_b"))
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=1024)
expected = dict(metrics={"accuracy/top1": 81.8})
