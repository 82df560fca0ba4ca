_base_ = ["../_base_/models/yolo_dfl_pafpn.py", "../_base_/recipes/yolo_36e.py"]

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-T-1K/resolve/main/mambavision_tiny_1k.pth.tar"
)
model = dict(
    backbone=dict(
        type="MambaVision",
        arch="mambavision_t",
        out_indices=(1, 2, 3),
        window_size=(8, 8, 40, 20),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[160, 320, 640]),
)
