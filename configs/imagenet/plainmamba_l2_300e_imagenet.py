# In float32. The average is the authors' until epoch 250, where its momentum should have grown
# tenfold: their hook fails there.
_base_ = "./plainmamba_l1_300e_imagenet.py"

model = dict(backbone=dict(arch="plainmamba_l2"))
optim_wrapper = dict(type="OptimWrapper", clip_grad=dict(max_norm=1.0))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 20
custom_hooks = [dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49)]
expected = dict(metrics={"accuracy/top1": 81.6})
