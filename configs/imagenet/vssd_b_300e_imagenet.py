_base_ = "./vssd_s_300e_imagenet.py"

model = dict(backbone=dict(arch="vssd_b", drop_path_rate=0.6))
expected = dict(metrics={"accuracy/top1": 84.7})
