# As simba_s's without the token labels of the authors' 84.4.
_base_ = "./simba_s_310e_imagenet.py"

model = dict(backbone=dict(arch="simba_l_einfft", drop_path_rate=0.3))
optim_wrapper = dict(clip_grad=dict(_delete_=True, max_norm=1.0))
