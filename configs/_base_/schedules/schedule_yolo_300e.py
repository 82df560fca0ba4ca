# 300 epochs of SGD, the learning rate falling linearly to a hundredth, as
# Mamba YOLO's authors start theirs. For 512 images an iteration (8 GPUs x
# 64); the weight decay is 5e-4 * 512 / 64. Biases and norms are not decayed.
max_epochs = 300
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="BiasesApartConstructor",
    optimizer=dict(
        type="SGD", fused=True, lr=0.01, momentum=0.937, nesterov=True, weight_decay=4e-3
    ),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={"dt_projs_bias": dict(decay_mult=0.0)},
    ),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(
        type="LinearLR", start_factor=1.0, end_factor=0.01, by_epoch=True, begin=0, end=max_epochs
    ),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
# Smaller batches are accumulated up to 64 images, as the authors' program has it: from there on the
# rate is the same, and the weight decay grows with the batch.
auto_scale_lr = dict(enable=False, base_batch_size=512, steady_from=64)
