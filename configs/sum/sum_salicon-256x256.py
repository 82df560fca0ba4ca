# SUM with its authors' settings (arXiv 2406.17815): 16 images a batch, no
# augmentation. They train on six sets at once; this is SALICON alone, one
# of them (docs/saliency.md has the others).
_base_ = [
    "../_base_/datasets/salicon.py",
    "../_base_/default_runtime_seg.py",
]
custom_imports = dict(imports=["mmmamba.segmentation"], allow_failed_imports=False)

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmsmall_dp03_ckpt_epoch_238.pth"
)
model = dict(
    type="SUM",
    data_preprocessor=dict(
        type="SaliencyDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type="SUMEncoder",
        arch="vmamba_v0_s",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    # Its layers begin as the stages of their width.
    decode_head=dict(
        type="SUMDecoder",
        in_channels=[192, 384, 768, 768],
        depths=[2, 2, 2, 1],
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    loss=dict(
        type="SaliencyLoss",
        kl_weight=10.0,
        cc_weight=2.0,
        sim_weight=1.0,
        nss_weight=1.0,
        mse_weight=5.0,
    ),
    # Of images that do not say theirs: natural_mouse, natural_eye,
    # ecommerce or ui.
    condition="natural_mouse",
    size=(256, 256),
)

# Down to a tenth after every fourth epoch; it ends where KL has not
# fallen for four.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", fused=True, lr=1e-4))
param_scheduler = [dict(type="StepLR", step_size=4, gamma=0.1, by_epoch=True)]
train_cfg = dict(type="ResumableEpochLoop", max_epochs=30, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=16)
custom_hooks = [
    dict(type="EarlyStoppingHook", monitor="saliency/KL", rule="less", min_delta=0.0, patience=4),
]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1, save_best="saliency/KL", rule="less"),
)
log_processor = dict(by_epoch=True)
tta_model = None
