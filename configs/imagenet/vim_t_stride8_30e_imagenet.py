# Vim-T, tuned with patches that overlap: each begins 8 pixels after the last.
_base_ = "./vim_t_300e_imagenet.py"

checkpoint = (
    "https://huggingface.co/hustvl/Vim-tiny-midclstok/resolve/main/vim_t_midclstok_76p1acc.pth"
)
model = dict(
    backbone=dict(arch="vim_t_stride8", init_cfg=dict(type="Pretrained", checkpoint=checkpoint))
)
optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=1e-8))
# The rate is constant.
param_scheduler = None
train_cfg = dict(max_epochs=30)
expected = dict(metrics={"accuracy/top1": 78.3})
