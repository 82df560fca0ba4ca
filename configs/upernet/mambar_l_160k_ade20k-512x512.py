_base_ = "./mambar_s_160k_ade20k-512x512.py"

checkpoint = "https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/mambar_large_patch16_224.pth"
model = dict(
    backbone=dict(arch="mambar_l", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=3e-5))
expected = dict(metrics={"mIoU": 49.1})
