# LocalVMamba's recipe in float32 and without clipping. What is not decayed is not stated: as Vim's.
_base_ = "./localvmamba_t_300e_imagenet.py"

model = dict(backbone=dict(type="LocalVim", arch="localvim_t", drop_path_rate=0.1))
optim_wrapper = dict(
    type="OptimWrapper",
    paramwise_cfg=dict(
        custom_keys={"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}
    ),
    clip_grad=None,
)
expected = dict(metrics={"accuracy/top1": 76.2})
