# Not published: the authors trained classifiers of food alone. Schedule and drop path are those of
# VMamba v0, which this is but for its shortcuts. No ImageNet weights exist: it starts from scratch,
# for which 12 epochs are few.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="ResVMamba", arch="res_vmamba_t", drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
