_base_ = "./vmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm_tiny_0230_ckpt_epoch_262.pth"
)
model = dict(
    backbone=dict(arch="vmamba_t_s2l5", init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"mIoU": 48.3}, metrics_tta={"mIoU": 48.6})
