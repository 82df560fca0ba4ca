# Not published: the authors trained classifiers of insects alone. The schedule and drop path are
# VMamba's, whose blocks these hold. No ImageNet weights exist: it starts from scratch.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(type="InsectMamba", arch="insectmamba_t", drop_path_rate=0.2),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
# The blocks' batch norms learn: a GPU's few images are too few to take statistics from.
sync_bn = "torch"
