# The authors published figures, but neither code nor weights: the schedule and drop path are
# VMamba's, whose runs theirs follow. Without a checkpoint of a classifier that you trained, in
# `model.backbone.init_cfg`, the backbone starts at random and falls short of these figures. Whether
# they are of feed-forward layers with convolutions, as here, is not said.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(
        type="SiMBA",
        arch="simba_s",
        drop_path_rate=0.2,
        # The stem's batch norms: two images a GPU are too few to take statistics from.
        norm_eval=True,
    ),
    neck=dict(in_channels=[64, 128, 320, 448]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.469, "coco/segm_mAP": 0.426},
    source="arXiv 2403.15360, table of detection results",
    verified=False,
)
