_base_ = ["../_base_/models/yolo_dfl_pafpn.py", "../_base_/recipes/yolo_36e.py"]

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
    "vssm1_tiny_0230s_ckpt_epoch_264.pth"
)
model = dict(
    backbone=dict(
        type="VMamba",
        arch="vmamba_t",
        out_indices=(1, 2, 3),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
