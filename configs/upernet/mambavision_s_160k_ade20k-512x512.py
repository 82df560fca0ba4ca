# For 8 GPUs with two images each. The authors' windows of 160 and 56 make maps of 32 and 16 into
# 160 and 56: about 30 times the work of S with the windows of T and B.
_base_ = "./mambavision_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-S-1K/resolve/main/mambavision_small_1k.pth.tar"
)
model = dict(
    backbone=dict(
        arch="mambavision_s", window_size=(8, 8, 160, 56), init_cfg=dict(checkpoint=checkpoint)
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5))
train_dataloader = dict(batch_size=2)
expected = dict(metrics={"mIoU": 48.2})
