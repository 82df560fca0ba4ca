# As heracles_s's without the token labels of the authors' 85.2.
_base_ = "./heracles_s_310e_imagenet.py"

model = dict(backbone=dict(arch="heracles_b"))
