_base_ = "./spatialmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="spatialmamba_s", drop_path_rate=0.3))
custom_hooks = [
    dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=1.5, begin=0.25),
]
expected = dict(metrics={"accuracy/top1": 84.6})
