_base_ = "./vmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm_base_0229_ckpt_epoch_237.pth"
)
model = dict(
    backbone=dict(arch="vmamba_b", drop_path_rate=0.6, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
expected = dict(metrics={"mIoU": 51.0}, metrics_tta={"mIoU": 51.6})
