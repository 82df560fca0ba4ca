# Its authors published neither code nor weights of such models, nor figures that could be read:
# the schedule and drop path are VMamba's. Without a checkpoint of a classifier that you trained, in
# `model.backbone.init_cfg`, the backbone starts at random.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(
        type="Heracles",
        arch="heracles_s",
        drop_path_rate=0.2,
        # The stem's batch norms: two images a GPU are too few to take statistics from.
        norm_eval=True,
    ),
    neck=dict(in_channels=[64, 128, 320, 448]),
)
