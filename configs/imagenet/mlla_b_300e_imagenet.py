_base_ = "./mlla_s_300e_imagenet.py"

model = dict(backbone=dict(arch="mlla_b", drop_path_rate=0.5))
expected = dict(metrics={"accuracy/top1": 85.3})
