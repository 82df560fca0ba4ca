_base_ = "./spatialmamba_t_300e_imagenet.py"

model = dict(backbone=dict(arch="spatialmamba_b", drop_path_rate=0.5))
expected = dict(metrics={"accuracy/top1": 85.3})
