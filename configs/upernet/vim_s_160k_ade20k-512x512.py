_base_ = "./vim_t_160k_ade20k-512x512.py"

checkpoint = (
    "https://huggingface.co/hustvl/Vim-small-midclstok/resolve/main/vim_s_midclstok_80p5acc.pth"
)
model = dict(
    backbone=dict(arch="vim_s", features="stream", init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[384, 384, 384, 384], channels=384),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(metrics={"mIoU": 44.9})
