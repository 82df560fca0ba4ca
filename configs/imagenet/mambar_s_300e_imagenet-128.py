# The authors published the settings of the base model: these are its.
_base_ = "./mambar_b_300e_imagenet-128.py"

model = dict(backbone=dict(arch="mambar_s"))
