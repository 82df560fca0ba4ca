# Mamba-R's 300 epochs on ImageNet: DeiT's in bfloat16 without scaled losses. The registers, which
# are the class tokens, and all positions are not decayed.
_base_ = "./schedule_300e_imagenet_deit.py"

optim_wrapper = dict(type="AmpOptimWrapper", dtype="bfloat16", loss_scale=1.0)
custom_hooks = []
