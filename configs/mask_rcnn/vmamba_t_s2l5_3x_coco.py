_base_ = "./vmamba_t_3x_coco.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm_tiny_0230_ckpt_epoch_262.pth"
)
model = dict(backbone=dict(arch="vmamba_t_s2l5", init_cfg=dict(checkpoint=checkpoint)))
expected = dict(metrics={"coco/bbox_mAP": 0.489, "coco/segm_mAP": 0.437})
