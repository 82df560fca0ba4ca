_base_ = "./vmamba_t_1x_coco.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm_base_0229_ckpt_epoch_237.pth"
)
model = dict(
    backbone=dict(arch="vmamba_b", drop_path_rate=0.6, init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.492, "coco/segm_mAP": 0.441})
