# The authors published the settings of the base model: these are its.
_base_ = "./mambar_b_20e_imagenet.py"

model = dict(
    backbone=dict(arch="mambar_s", init_cfg=dict(checkpoint="work_dirs/mambar_s_100e_imagenet"))
)
expected = dict(metrics={"accuracy/top1": 81.4})
