_base_ = "./vssd_b_300e_imagenet.py"

model = dict(type="DistilledClassifier")
custom_hooks = [
    dict(type="EMAHook", momentum=1e-4, update_buffers=True, priority=49),
    dict(type="MESAHook", weight=2.0, begin=0.25),
]
expected = dict(metrics={"accuracy/top1": 85.4})
