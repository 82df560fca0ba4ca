_base_ = "./spatialmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="spatialmamba_s", drop_path_rate=0.3))
expected = dict(metrics={"accuracy/top1": 84.6})
