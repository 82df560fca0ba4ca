# Published from a pretraining of 100 epochs, not the 300 of the weights in the authors' Google
# Drive folder (`mmmamba download msvmamba_n` says where).
_base_ = "./msvmamba_t_1x_coco.py"

model = dict(
    backbone=dict(arch="msvmamba_n"),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.414, "coco/segm_mAP": 0.379})
