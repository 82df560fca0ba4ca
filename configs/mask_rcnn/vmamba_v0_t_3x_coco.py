# The authors' configs of this generation name no drop path and inherit 0.2, for every size.
_base_ = "./vmamba_t_3x_coco.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmtiny_dp01_ckpt_epoch_292.pth"
)
model = dict(
    backbone=dict(arch="vmamba_v0_t", init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.485, "coco/segm_mAP": 0.432})
