# AdamW with a cosine, for 8 images an iteration on one GPU. The authors published no training:
# these are usual values of the field, not theirs.
max_iters = 40_000
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=5e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=500),
    dict(
        type="CosineAnnealingLR",
        by_epoch=False,
        begin=500,
        end=max_iters,
        T_max=max_iters - 500,
        eta_min=1e-6,
    ),
]
train_cfg = dict(type="ResumableIterLoop", max_iters=max_iters, val_interval=1000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=8)
