# 12 epochs of AdamW, the learning rate divided by ten after 8 and 11. For 16
# images an iteration (8 GPUs x 2). No weight decay where a parameter's name
# holds `norm`: biases, A_log and D are decayed, as in the authors' runs.
max_epochs = 12
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="MergedOptimWrapperConstructor",
    optimizer=dict(type="AdamW", fused=True, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type="MultiStepLR", begin=0, end=max_epochs, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=16)
