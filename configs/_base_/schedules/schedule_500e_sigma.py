# 500 epochs of AdamW; after 10 of warm-up the learning rate falls by a polynomial of power 0.9. For
# 8 images an iteration. Biases and norms are not decayed. The authors' optimizer holds no parameter
# that stands outside of a layer: those are trained here, and not decayed.
max_epochs = 500
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            "A_log": dict(decay_mult=0.0),
            ".D_": dict(decay_mult=0.0),
            ".Ds": dict(decay_mult=0.0),
            "dt_projs_bias": dict(decay_mult=0.0),
            "scale1": dict(decay_mult=0.0),
            "scale2": dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type="PolyLR",
        power=0.9,
        eta_min=0.0,
        by_epoch=True,
        begin=10,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=8)
