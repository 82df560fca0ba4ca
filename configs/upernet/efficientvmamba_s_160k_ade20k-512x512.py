_base_ = "./efficientvmamba_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Small/resolve/main/efficient_vmamba_small.ckpt"
)
model = dict(
    backbone=dict(arch="efficientvmamba_s", init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
expected = dict(metrics={"mIoU": 41.5}, metrics_tta={"mIoU": 42.1})
