# Not published: the authors trained classifiers of aerial scenes alone. The schedule is VMamba's.
# No ImageNet weights exist: it starts from scratch, for which 12 epochs are few.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(
        type="RSMamba", arch="rsmamba_b", img_size=1024, pyramid=True, drop_path_rate=0.1
    ),
    neck=dict(in_channels=[192, 192, 192, 192]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"pos_embed": dict(decay_mult=0.0)}))
