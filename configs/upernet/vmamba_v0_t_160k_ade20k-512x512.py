# The authors' configs of this generation name no drop path and inherit 0.3, for every size.
_base_ = "./vmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmtiny_dp01_ckpt_epoch_292.pth"
)
model = dict(
    backbone=dict(arch="vmamba_v0_t", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"mIoU": 47.3}, metrics_tta={"mIoU": 48.3})
