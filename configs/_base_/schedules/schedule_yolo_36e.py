# 36 epochs of AdamW from published weights, constant for half of them
# and then a cosine, as mmdet trains RTMDet. For 256 images an
# iteration (8 GPUs x 32). Ours: no authors trained detectors with it.
max_epochs = 36
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        bypass_duplicate=True,
        custom_keys={"dt_projs_bias": dict(decay_mult=0.0)},
    ),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type="CosineAnnealingLR",
        eta_min=5e-5,
        by_epoch=True,
        begin=max_epochs // 2,
        end=max_epochs,
        T_max=max_epochs // 2,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=max_epochs, val_interval=4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=256)
