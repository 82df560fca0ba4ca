_base_ = ["../_base_/models/yolo_dfl_pafpn.py", "../_base_/recipes/yolo_36e.py"]

checkpoint = (
    "https://huggingface.co/TerryPei/EfficientVMamba-Tiny/resolve/main/efficient_vmamba_tiny.ckpt"
)
model = dict(
    backbone=dict(
        type="EfficientVMamba",
        arch="efficientvmamba_t",
        out_indices=(1, 2, 3),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[96, 192, 384]),
)
