# The authors published figures, but neither code nor weights: the schedule and drop path are
# VMamba's, whose runs theirs follow. Without a checkpoint of a classifier that you trained, in
# `model.backbone.init_cfg`, the backbone starts at random and falls short of these figures. Whether
# they are of feed-forward layers with convolutions, as here, is not said.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(
        type="SiMBA",
        arch="simba_s",
        drop_path_rate=0.2,
        # The stem's batch norms: a GPU's few images are too few to take statistics from.
        norm_eval=True,
    ),
    decode_head=dict(in_channels=[64, 128, 320, 448]),
    auxiliary_head=dict(in_channels=320),
)
expected = dict(
    metrics={"mIoU": 49.0},
    metrics_tta={"mIoU": 49.6},
    source="arXiv 2403.15360, table of segmentation results",
    verified=False,
)
