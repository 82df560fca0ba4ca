# Not published: the authors trained classifiers of medical images alone. The schedule is VMamba's,
# the drop path their own. No ImageNet weights exist: it starts from scratch, for which 12 epochs
# are few.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="MedMamba", arch="medmamba_t", drop_path_rate=0.1),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
# The blocks' batch norms learn: two images a GPU are too few to take statistics from.
sync_bn = "torch"
