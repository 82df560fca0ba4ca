# Not published: the authors trained classifiers of aerial scenes alone. Model and schedule are
# Vim-T's, the column that is most like this one. No ImageNet weights exist: it starts from scratch.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(type="RSMamba", arch="rsmamba_b", img_size=512, pyramid=True, drop_path_rate=0.1),
    decode_head=dict(in_channels=[192, 192, 192, 192], channels=192),
    auxiliary_head=dict(in_channels=192),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"pos_embed": dict(decay_mult=0.0)}))
