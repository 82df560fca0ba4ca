# Not published: the authors trained classifiers of insects alone. The schedule and drop path are
# VMamba's, whose blocks these hold. No ImageNet weights exist: it starts from scratch, for which 12
# epochs are few. The attention of the first stages reads means of 8x8 and 4x4 cells: of a large
# image there are 67,000, between which it would be quadratic as published.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(
        type="InsectMamba",
        arch="insectmamba_t",
        attn_reductions=(8, 4, 1, 1),
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
# The blocks' batch norms learn: two images a GPU are too few to take statistics from.
sync_bn = "torch"
