_base_ = "./vmamba_t_1x_coco.py"

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm_small_0229_ckpt_epoch_222.pth"
)
model = dict(
    backbone=dict(arch="vmamba_s", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.487, "coco/segm_mAP": 0.437})
