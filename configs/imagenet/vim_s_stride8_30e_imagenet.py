# Of this size the sheet states Vim-T's settings, and nothing else.
_base_ = "./vim_t_stride8_30e_imagenet.py"

checkpoint = (
    "https://huggingface.co/hustvl/Vim-small-midclstok/resolve/main/vim_s_midclstok_80p5acc.pth"
)
model = dict(
    backbone=dict(arch="vim_s_stride8", init_cfg=dict(type="Pretrained", checkpoint=checkpoint))
)
expected = dict(metrics={"accuracy/top1": 81.6})
