_base_ = "./efficientvmamba_t_1x_coco.py"

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Base/resolve/main/efficient_vmamba_base.ckpt"
)
model = dict(
    backbone=dict(arch="efficientvmamba_b", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
