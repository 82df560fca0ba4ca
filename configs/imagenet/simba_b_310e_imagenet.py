# As simba_s's without the token labels of the authors' 84.7.
_base_ = "./simba_s_310e_imagenet.py"

model = dict(backbone=dict(arch="simba_b"))
