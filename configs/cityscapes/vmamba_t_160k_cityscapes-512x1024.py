# UperNet. The authors published no result on Cityscapes:
# VMamba-T's settings on ADE20K with this data set.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/cityscapes.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm1_tiny_0230s_ckpt_epoch_264.pth"
)
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(
        type="VMamba",
        arch="vmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=19),
    auxiliary_head=dict(in_channels=384, num_classes=19),
)
