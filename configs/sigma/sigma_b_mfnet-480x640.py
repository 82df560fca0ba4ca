_base_ = "./sigma_t_mfnet-480x640.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmbase_dp06_ckpt_epoch_241.pth"
)
model = dict(
    backbone=dict(arch="sigma_b", drop_path_rate=0.6, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
)
expected = dict(metrics={"mIoU": 61.3})
