# Its authors published neither code nor weights of such models, nor figures that could be read:
# the schedule and drop path are VMamba's. Without a checkpoint of a classifier that you trained, in
# `model.backbone.init_cfg`, the backbone starts at random.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(
        type="Heracles",
        arch="heracles_s",
        drop_path_rate=0.2,
        # The stem's batch norms: a GPU's few images are too few to take statistics from.
        norm_eval=True,
    ),
    decode_head=dict(in_channels=[64, 128, 320, 448]),
    auxiliary_head=dict(in_channels=320),
)
