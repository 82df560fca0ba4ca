# SiMBA's and Heracles' 310 epochs on ImageNet, and ten more at the last rate: AdamW, 5 epochs of
# warm-up, rates that change from epoch to epoch. For 1024 images an iteration (8 GPUs x 128). An
# average of the weights is not stated: there is none.
_base_ = "./schedule_300e_imagenet.py"

optim_wrapper = dict(clip_grad=None)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=5),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5, end=310),
]
train_cfg = dict(max_epochs=320)
custom_hooks = []
