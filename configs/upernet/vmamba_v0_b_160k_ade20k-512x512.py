# The authors' configs of this generation name no drop path and inherit 0.3, for every size.
_base_ = "./vmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmbase_dp06_ckpt_epoch_241.pth"
)
model = dict(
    backbone=dict(arch="vmamba_v0_b", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
expected = dict(metrics={"mIoU": 50.0}, metrics_tta={"mIoU": 51.3})
