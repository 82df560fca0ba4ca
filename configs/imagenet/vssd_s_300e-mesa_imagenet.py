_base_ = "./vssd_s_300e_imagenet.py"

model = dict(type="DistilledClassifier")
custom_hooks = [
    dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=1.5, begin=0.25),
]
expected = dict(metrics={"accuracy/top1": 84.5})
