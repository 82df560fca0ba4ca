_base_ = "./efficientvmamba_t_1x_coco.py"

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Small/resolve/main/efficient_vmamba_small.ckpt"
)
model = dict(
    backbone=dict(arch="efficientvmamba_s", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.393, "coco/segm_mAP": 0.367})
