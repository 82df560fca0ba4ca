# For 512 images an iteration (8 GPUs x 64), at the rate of 1024.
_base_ = "./vim_t_300e_imagenet.py"

model = dict(backbone=dict(arch="vim_s", drop_path_rate=0.05))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=512)
expected = dict(metrics={"accuracy/top1": 80.5})
