_base_ = "./mambavision_t_1x_coco.py"

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-S-1K/resolve/main/mambavision_small_1k.pth.tar"
)
model = dict(
    backbone=dict(arch="mambavision_s", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
