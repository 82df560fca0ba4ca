# 160,000 iterations of AdamW, after 1500 of warm-up the learning rate falls
# to 0 in a straight line. For 16 images an iteration (8 GPUs x 2). No weight
# decay where a parameter's name holds `norm`, as in the authors' runs.
max_iters = 160_000
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=max_iters),
]
train_cfg = dict(type="ResumableIterLoop", max_iters=max_iters, val_interval=16_000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=16)
