_base_ = "./mambavision_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-B-1K/resolve/main/mambavision_base_1k.pth.tar"
)
model = dict(
    backbone=dict(arch="mambavision_b", init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
expected = dict(metrics={"mIoU": 49.1})
