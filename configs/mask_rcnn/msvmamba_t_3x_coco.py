# The pretrained weights lie in a Google Drive folder (`mmmamba download msvmamba_t` says where):
# name the file that you fetched in model.backbone.init_cfg.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="MSVMamba", arch="msvmamba_t", drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.483, "coco/segm_mAP": 0.432},
    source="https://github.com/YuHengsss/MSVMamba, table of detection results",
    verified=False,
)
