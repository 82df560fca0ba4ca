_base_ = "./mlla_t_1x_coco.py"

checkpoint = "https://cloud.tsinghua.edu.cn/f/91c85c5a1061496d8796/?dl=1"
model = dict(
    backbone=dict(arch="mlla_b", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.505, "coco/segm_mAP": 0.450})
