# As heracles_s's without the token labels of the authors' 85.9.
_base_ = "./heracles_s_310e_imagenet.py"

model = dict(backbone=dict(arch="heracles_l", drop_path_rate=0.3))
optim_wrapper = dict(clip_grad=dict(_delete_=True, max_norm=1.0))
