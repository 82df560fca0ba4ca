# The authors' configs of this generation name no drop path and inherit 0.2, for every size.
_base_ = "./vmamba_t_1x_coco.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmbase_dp06_ckpt_epoch_241.pth"
)
model = dict(
    backbone=dict(arch="vmamba_v0_b", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.486, "coco/segm_mAP": 0.433})
