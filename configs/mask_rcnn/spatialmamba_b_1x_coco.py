_base_ = "./spatialmamba_t_1x_coco.py"

checkpoint = "checkpoints/spatialmamba_b.pth"
model = dict(
    backbone=dict(arch="spatialmamba_b", drop_path_rate=0.5, init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.504, "coco/segm_mAP": 0.451})
