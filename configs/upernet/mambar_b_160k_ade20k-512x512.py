_base_ = "./mambar_s_160k_ade20k-512x512.py"

checkpoint = "https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/mambar_base_patch16_224.pth"
model = dict(
    backbone=dict(arch="mambar_b", init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
    auxiliary_head=dict(in_channels=768),
)
expected = dict(metrics={"mIoU": 47.7})
