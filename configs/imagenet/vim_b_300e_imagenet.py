# The authors published no settings of this size: these are Vim-S's.
_base_ = "./vim_s_300e_imagenet.py"

model = dict(backbone=dict(arch="vim_b"))
expected = dict(metrics={"accuracy/top1": 81.9})
