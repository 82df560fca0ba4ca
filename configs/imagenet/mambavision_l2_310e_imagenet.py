_base_ = "./mambavision_l_310e_imagenet.py"

model = dict(backbone=dict(arch="mambavision_l2"))
expected = dict(metrics={"accuracy/top1": 85.3})
