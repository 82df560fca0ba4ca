_base_ = "./mlla_t_3x_coco.py"

checkpoint = "https://cloud.tsinghua.edu.cn/f/0e5d0b1409d540aaa80c/?dl=1"
model = dict(
    backbone=dict(arch="mlla_s", init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.505, "coco/segm_mAP": 0.449})
