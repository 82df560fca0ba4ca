_base_ = "./sigma_t_sun-rgbd-480x640.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmsmall_dp03_ckpt_epoch_238.pth"
)
model = dict(
    backbone=dict(arch="sigma_s", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics_tta={"mIoU": 52.4})
