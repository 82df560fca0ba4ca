# The authors published the settings of the base model: these are its.
_base_ = "./mambar_b_100e_imagenet.py"

model = dict(
    backbone=dict(arch="mambar_l", init_cfg=dict(checkpoint="work_dirs/mambar_l_300e_imagenet-128"))
)
