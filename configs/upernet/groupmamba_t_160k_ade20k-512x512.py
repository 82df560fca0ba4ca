# The authors published figures, but no code: the schedule and drop path are VMamba's, whose runs
# theirs follow.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = (
    "https://huggingface.co/Abdelrahman-shaker/GroupMamba-Tiny/resolve/main/groupmamba_tiny_ema.pth"
)
model = dict(
    backbone=dict(
        type="GroupMamba",
        arch="groupmamba_t",
        drop_path_rate=0.2,
        # The stem's batch norms: a GPU's few images are too few to take statistics from.
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[64, 128, 348, 448]),
    auxiliary_head=dict(in_channels=348),
)
expected = dict(
    metrics={"mIoU": 48.6},
    metrics_tta={"mIoU": 49.2},
    source="arXiv 2407.13772, table of segmentation results",
    verified=False,
)
