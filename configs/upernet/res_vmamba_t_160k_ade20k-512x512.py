# Not published: the authors trained classifiers of food alone. Schedule and drop path are those of
# VMamba v0, which this is but for its shortcuts. No ImageNet weights exist: it starts from scratch.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(type="ResVMamba", arch="res_vmamba_t", drop_path_rate=0.3),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
