# The weights lie behind a page: fetch mobilemamba_b1.pth by hand from the place that
# docs/checkpoints.md names, and put it where `checkpoint` says.
_base_ = ["../_base_/models/yolo_dfl_pafpn.py", "../_base_/recipes/yolo_36e.py"]

checkpoint = "checkpoints/mobilemamba_b1.pth"
model = dict(
    backbone=dict(
        type="MobileMamba",
        arch="mobilemamba_b1",
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[200, 376, 448]),
    bbox_head=dict(strides=[16, 32, 64]),
)
