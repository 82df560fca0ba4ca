# ViTDet's 100 epochs of 64 images an iteration (Li et al.
# 2022), the learning rate divided by ten after 8/9 and 24/25.
max_iters = 184_375
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(
        custom_keys={"norm": dict(decay_mult=0.0), "pos_embed": dict(decay_mult=0.0)}
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type="MultiStepLR",
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[163_889, 177_546],
        gamma=0.1,
    ),
]
train_cfg = dict(type="ResumableIterLoop", max_iters=max_iters, val_interval=5_000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=64)
