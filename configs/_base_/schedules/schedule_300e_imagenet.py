# Swin Transformer's 300 epochs on ImageNet: AdamW, a cosine after 20 epochs of warm-up, an average
# of the weights. For 1024 images an iteration (8 GPUs x 128). No weight decay for what has one
# dimension and for biases, so that A_logs of two dimensions are decayed, as in the authors' runs.
max_epochs = 300
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(
        type="AdamW", fused=True, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
    ),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min=1e-5,
        by_epoch=True,
        begin=20,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=1024)
custom_hooks = [
    dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49),
]
