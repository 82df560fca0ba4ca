_base_ = "./mlla_s_300e_imagenet.py"

model = dict(backbone=dict(arch="mlla_b", drop_path_rate=0.5))
custom_hooks = [
    dict(type="EMAHook", momentum=5e-5, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=2.0, begin=0.25),
]
expected = dict(metrics={"accuracy/top1": 85.3})
