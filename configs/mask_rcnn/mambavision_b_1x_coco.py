_base_ = "./mambavision_t_1x_coco.py"

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-B-1K/resolve/main/mambavision_base_1k.pth.tar"
)
model = dict(
    backbone=dict(arch="mambavision_b", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
