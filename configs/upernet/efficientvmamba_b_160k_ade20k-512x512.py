_base_ = "./efficientvmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Base/resolve/main/efficient_vmamba_base.ckpt"
)
model = dict(
    backbone=dict(arch="efficientvmamba_b", init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(metrics={"mIoU": 46.5}, metrics_tta={"mIoU": 47.3})
