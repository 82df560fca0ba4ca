# The authors published figures, but no code: the schedule and drop path are VMamba's, whose runs
# theirs follow.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = (
    "https://huggingface.co/Abdelrahman-shaker/GroupMamba-Tiny/resolve/main/groupmamba_tiny_ema.pth"
)
model = dict(
    backbone=dict(
        type="GroupMamba",
        arch="groupmamba_t",
        drop_path_rate=0.2,
        # The stem's batch norms: two images a GPU are too few to take statistics from.
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[64, 128, 348, 448]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.476, "coco/segm_mAP": 0.429},
    source="arXiv 2407.13772, table of detection results",
    verified=False,
)
