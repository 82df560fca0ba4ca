# DeiT's 300 epochs on ImageNet, as Vim's authors have them: float32, 5 epochs of warm-up, no
# clipping, rates that change from epoch to epoch. For 1024 images an iteration (8 GPUs x 128).
_base_ = "./schedule_300e_imagenet.py"

optim_wrapper = dict(
    type="OptimWrapper",
    paramwise_cfg=dict(
        custom_keys={"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}
    ),
    clip_grad=None,
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=5),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5, end=300),
]
custom_hooks = [dict(type="EMAHook", momentum=4e-5, update_buffers=True, priority=49)]
