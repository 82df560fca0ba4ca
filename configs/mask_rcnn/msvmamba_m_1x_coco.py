# The pretrained weights lie in a Google Drive folder (`mmmamba download msvmamba_m` says where):
# name the file that you fetched in model.backbone.init_cfg.
_base_ = "./msvmamba_t_1x_coco.py"

model = dict(
    backbone=dict(arch="msvmamba_m"),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.438, "coco/segm_mAP": 0.399})
